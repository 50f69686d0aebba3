"""One side of a comparison, in a process of its own: `python -m benchmarks.side SIDE JOB`, one line of JSON.

SIDE: `prepare` writes the sessions, and documents that are there already, into a fresh state, `prepare-users` those of
many users; `builtin` is cognee's own pipeline, `flow` our flow, `functions` what it calls, without Prefect, and
`nightly` the run over all that is pending.
"""

import asyncio
import importlib
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import psutil

from benchmarks import llm
from benchmarks.job import Job


async def _prepare(job: Job, user: Any) -> None:
    from benchmarks import functions
    from tests.world import World

    world = World(user=user, dataset=await _dataset(job, user, create=True))
    if job.existing_documents:
        names = [f"earlier-{number}" for number in range(job.existing_documents)]
        await _say_at_once(world, names)
        await functions.persist(user.email, names, job.dataset)
        await _prune(world.dataset)
    for name in job.session_ids:
        await _say(world, name, turns=job.turns)


async def _prune(dataset: Any) -> None:
    """Leave the vector store as one is that grew over weeks: without the versions of the last five minutes."""
    from cognee.context_global_variables import set_database_global_context_variables
    from cognee.infrastructure.databases.vector.compact_vector_store import compact_vector_store
    from cognee.infrastructure.databases.vector.lancedb.LanceDBAdapter import LanceDBAdapter

    options = LanceDBAdapter._compaction_options
    unbounded = {"retention_seconds": 0, "max_tasks": 0, "max_versions": 0}
    LanceDBAdapter._compaction_options = lambda self: options(self) | unbounded
    async with set_database_global_context_variables(dataset.id, dataset.owner_id):
        await compact_vector_store()


async def _say_at_once(world: Any, names: list[str]) -> None:
    """A turn in each session, in one transaction: what cognee's own call would write, one by one, in ten minutes."""
    from cognee.infrastructure.databases.cache.get_cache_engine import get_cache_engine
    from cognee.infrastructure.databases.cache.sql.tables import cache_qa_entries
    from sqlalchemy import insert

    adapter = get_cache_engine()
    await adapter._ensure_initialized()
    entries = []
    for name in names:
        question, answer = _turn(name, 0)
        entries.append(adapter._build_qa_entry_dump(question, "", answer, str(uuid4()), None, None))
    async with adapter.sessionmaker() as session, session.begin():
        await session.execute(
            insert(cache_qa_entries),
            [
                {
                    "user_id": str(world.user.id),
                    "session_id": name,
                    "qa_id": entry["qa_id"],
                    "payload": entry,
                    "created_at": datetime.fromisoformat(entry["time"]),
                    "expires_at": adapter._session_expiry(),
                }
                for name, entry in zip(names, entries, strict=True)
            ],
        )


async def _say(world: Any, name: str, turns: int) -> None:
    for number in range(turns):
        await world.say(name, *_turn(name, number))


def _turn(name: str, number: int) -> tuple[str, str]:
    """A question and its answer: of things that the sessions share, and of things of their own."""
    thing, own = f"Thing{abs(hash((name, number))) % 40}", f"{name.replace('-', '')}{number}"
    return (
        f"Where does {thing} meet Question{own}?",
        f"{thing} meets it in Place{own}, beside Station{number}, near River{number % 3}.",
    )


async def _dataset(job: Job, user: Any, *, create: bool = False) -> Any:
    from cognee.modules.data.methods import create_authorized_dataset, get_authorized_existing_datasets

    if create:
        return await create_authorized_dataset(job.dataset, user)
    return (await get_authorized_existing_datasets(datasets=[job.dataset], permission_type="write", user=user))[0]


async def _builtin(job: Job, user: Any) -> None:
    from cognee.memify_pipelines.persist_sessions_in_knowledge_graph import (
        persist_sessions_in_knowledge_graph_pipeline,
    )

    await persist_sessions_in_knowledge_graph_pipeline(user=user, session_ids=job.session_ids, dataset=job.dataset)


async def _flow(job: Job, user: Any) -> None:
    from flows.persist_sessions import persist_sessions

    await persist_sessions(user=user.email, session_ids=job.session_ids, dataset=job.dataset)


async def _functions(job: Job, user: Any) -> None:
    from benchmarks import functions

    await functions.persist(user.email, job.session_ids, job.dataset)


async def _prepare_users(job: Job, _user: Any) -> None:
    from cognee.modules.users.methods import create_user

    from tests.world import World

    for number in range(job.users):
        owner = await create_user(f"user-{number}@example.com", "a password of a benchmark")
        world = World(user=owner, dataset=await _dataset(job, owner, create=True))
        await _say_at_once(world, job.session_ids[number :: job.users])


async def _nightly(job: Job, _user: Any) -> None:
    from flows.persist_pending_sessions import persist_pending_sessions

    report = await persist_pending_sessions()
    if report.turns_persisted != job.sessions * job.turns or report.left_counts:
        raise RuntimeError(f"{report.turns_persisted} turns of {job.sessions * job.turns}, left: {report.left_counts}")


SIDES: dict[str, Callable[[Job, Any], Awaitable[None]]] = {
    "prepare": _prepare,
    "builtin": _builtin,
    "flow": _flow,
    "functions": _functions,
    "prepare-users": _prepare_users,
    "nightly": _nightly,
}

#: What each side imports, before the clock starts.
_MODULES = {
    "builtin": ("cognee.memify_pipelines.persist_sessions_in_knowledge_graph",),
    "flow": ("flows.persist_sessions", "benchmarks.functions"),
    "functions": ("flows.persist_sessions", "benchmarks.functions"),
    "nightly": ("flows.persist_pending_sessions", "benchmarks.functions"),
}


async def _stored_turns(job: Job, user: Any) -> dict[str, int]:
    """In how many chunks of the dataset's graph each cached turn's question stands."""
    from cognee.infrastructure.session.get_session_manager import get_session_manager

    from tests.world import World

    world = World(user=user, dataset=await _dataset(job, user))
    chunks = await world.chunk_texts()
    stored = {}
    for name in job.session_ids:
        for entry in await get_session_manager().get_session(user_id=str(user.id), session_id=name):
            stored[entry.qa_id] = sum(chunk.count(entry.question) for chunk in chunks)
    return stored


async def _start_as_upstream_does() -> None:
    from cognee.modules.engine.operations.setup import setup
    from cognee.modules.migrations.startup import run_migrations

    await setup()
    await run_migrations()


async def _measure(side: str, job: Job) -> dict[str, Any]:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    from session_memory import runtime

    bench = llm.install(job.latency, job.cap)
    if side == "builtin":
        await _start_as_upstream_does()
    else:
        await runtime.start()
    for module in _MODULES.get(side, ()):
        importlib.import_module(module)
    from cognee.modules.users.methods import get_default_user

    user = await get_default_user()
    statements = 0

    def count(*_: Any) -> None:
        nonlocal statements
        statements += 1

    event.listen(Engine, "before_cursor_execute", count)
    walls = []
    calls = []
    process = psutil.Process()
    cpu = _cpu(process)
    for _ in range(job.rounds):
        before = bench.calls
        started = time.perf_counter()
        await SIDES[side](job, user)
        walls.append(time.perf_counter() - started)
        calls.append(bench.calls - before)
    measured = {
        "side": side,
        "wall": walls[0],
        "cpu": _cpu(process) - cpu,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "store_processes": len(process.children(recursive=True)),
        "llm_calls": calls[0],
        "peak_llm_calls": bench.peak,
        "embedding_calls": bench.embedding_calls,
        "embedded_texts": bench.embedded_texts,
        "sql_statements": statements,
        "again_wall": walls[1] if len(walls) > 1 else None,
        "again_llm_calls": calls[1] if len(walls) > 1 else None,
    }
    event.remove(Engine, "before_cursor_execute", count)
    if side in {"builtin", "flow", "functions"}:
        measured["turns"] = await _stored_turns(job, user)
    return measured


def _cpu(process: psutil.Process) -> float:
    """Seconds of this process and of the store processes that cognee started."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


def main() -> None:
    """Measure, and print."""
    side, job = sys.argv[1], Job.model_validate_json(sys.argv[2])
    sys.stdout, printed = sys.stderr, sys.stdout
    measured = asyncio.run(_measure(side, job))
    print(json.dumps(measured), file=printed)


if __name__ == "__main__":
    main()
