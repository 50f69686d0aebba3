"""Looks at everything of cognee's that persisting needs: each store, version, permission and setting."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import cognee
import humanize
from cognee.base_config import get_base_config
from cognee.context_global_variables import backend_access_control_enabled, set_database_global_context_variables
from cognee.infrastructure.databases.cache.config import get_cache_config
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.graph.config import get_graph_config
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.databases.vector import get_vector_engine_async
from cognee.infrastructure.databases.vector.config import get_vectordb_config
from cognee.infrastructure.databases.vector.embeddings import get_embedding_engine
from cognee.infrastructure.llm.config import get_llm_config
from cognee.infrastructure.llm.LLMGateway import LLMGateway
from cognee.modules.improve.config import get_improve_config
from packaging.requirements import Requirement
from sqlalchemy import text

from session_memory import cache_listing, redaction
from session_memory.access import authorise
from session_memory.dataset_lock import hold_named
from session_memory.diagnosis import Finding, ok, problem, warning
from session_memory.errors import DatasetNotFound, SessionMemoryError
from session_memory.failures import classify
from session_memory.models import Target
from session_memory.settings import get_settings

#: Stores that are files of one machine.
_FILES = {"sqlite", "fs", "turso", "ladybug", "kuzu", "lancedb"}
_ONE_MACHINE = "Put it on a server that all of them reach: {setting}. Or run one worker."


async def examine(
    user: str | None, dataset: str, *, hosts: set[str], longest_wait: timedelta | None, ask_models: bool
) -> list[Finding]:
    """What is in order and what is not, one finding a thing.

    Args:
        hosts: machines that ran persist-sessions lately.
        longest_wait: between two runs of the schedule; None where nothing is scheduled.
        ask_models: ask the LLM and the embedding model for one word each, which may cost something.
    """
    several = len(hosts) > 1
    findings = [
        *_versions(),
        *_folders(several),
        *[finding async for finding in _database(several)],
        *[finding async for finding in _cache(several, longest_wait)],
        _redaction(),
        _improve(),
        _access_control(),
        *[finding async for finding in _models(ask=ask_models)],
    ]
    try:
        target = await authorise(user, dataset, get_settings())
    except DatasetNotFound as error:
        return [*findings, warning("dataset", f"there is no {dataset} yet", str(error))]
    except SessionMemoryError as error:
        return [*findings, problem("permission", error.code.replace("_", " "), str(error))]
    findings.append(ok("permission", f"{target.writer_email} may write to {target.dataset_name}"))
    findings.append(await _graph(target, several))
    findings += [finding async for finding in _vectors(target, several)]
    return findings


async def _answers(name: str, detail: str, ask: Callable[[], Awaitable[Any]], advice: str) -> Finding:
    """Whether something answers; what it raised is told in our words, for a driver's own may quote a password."""
    try:
        found = await ask()
    except Exception as error:  # noqa: BLE001 - each store raises its own
        return problem(name, f"{detail} does not answer: {classify(error)}", advice)
    return ok(name, f"{detail}{found or ''}")


def _versions() -> list[Finding]:
    findings = []
    for line in requires("session-memory") or []:
        requirement = Requirement(line)
        if requirement.name in {"cognee", "prefect"} and requirement.marker is None:
            found = version(requirement.name)
            if requirement.specifier.contains(found):
                findings.append(ok("version", f"{requirement.name} {found}"))
            else:
                findings.append(
                    problem(
                        "version", f"{requirement.name} {found}", f"Install {requirement}: what it does is relied on."
                    )
                )
    return findings


def _folders(several: bool) -> list[Finding]:
    findings = []
    config = get_base_config()
    for setting, folder in (
        ("SYSTEM_ROOT_DIRECTORY", Path(config.system_root_directory)),
        ("DATA_ROOT_DIRECTORY", Path(config.data_root_directory)),
    ):
        if "site-packages" in folder.parts:
            advice = f"The next install deletes it: set {setting} to a folder of yours, here and where the agents run."
            findings.append(problem("folder", f"{setting} is inside site-packages", advice))
        elif not _is_writable(folder):
            findings.append(problem("folder", f"{folder} cannot be written", f"Set {setting}, or its permissions."))
        else:
            findings.append(ok("folder", f"{setting} {folder}"))
    if several and "://" not in config.data_root_directory:
        findings.append(
            warning(
                "documents",
                f"in a folder, {config.data_root_directory}, and there are several machines",
                "It has to be the same folder on all of them: a network drive, or STORAGE_BACKEND=s3.",
            )
        )
    elsewhere = Path(cognee.__file__).parent / ".cognee_system" / "databases" / "cache.db"
    if elsewhere.exists() and not elsewhere.is_relative_to(config.system_root_directory):
        findings.append(
            warning(
                "folder",
                "cognee has been run here without settings: there are sessions inside its own package",
                f"Start the agents with SYSTEM_ROOT_DIRECTORY={config.system_root_directory}, or they are not found.",
            )
        )
    return findings


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(existing, os.W_OK)


async def _database(several: bool) -> AsyncIterator[Finding]:
    engine = get_relational_engine().engine
    kind = "sqlite" if engine.dialect.name == "sqlite" else "postgres"
    where = engine.url.render_as_string(hide_password=True)

    async def ask() -> None:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    yield await _answers("ledger", where, ask, "Set DB_PROVIDER, DB_HOST, DB_PORT, DB_NAME, DB_USERNAME, DB_PASSWORD.")
    if several and kind in _FILES:
        yield problem(
            "ledger",
            "SQLite, and several machines: each would lock, plan and write by itself",
            _ONE_MACHINE.format(setting="DB_PROVIDER=postgres"),
        )

    async def lock() -> None:
        async with hold_named("doctor", called="the doctor's lock", holder="the doctor", wait_seconds=5):
            pass

    advice = "With Postgres behind a pooler, give cognee a connection that keeps its session."
    yield await _answers("lock", "a file's" if kind in _FILES else "a Postgres session's", lock, advice)


async def _cache(several: bool, longest_wait: timedelta | None) -> AsyncIterator[Finding]:
    config = get_cache_config()
    if not config.caching:
        yield problem("session cache", "CACHING is off: agents keep no sessions", "Set CACHING=true, here and there.")
        return

    async def ask() -> str:
        count = 0
        async for page in cache_listing.pages():
            count += len(page)
        return f", {count} sessions"

    yield await _answers("session cache", config.cache_backend, ask, "Set CACHE_BACKEND, CACHE_HOST, CACHE_DB_URL.")
    if several and config.cache_backend in _FILES:
        yield problem(
            "session cache",
            f"{config.cache_backend}, and several machines: none sees the others' sessions",
            _ONE_MACHINE.format(setting="CACHE_BACKEND=redis or postgres"),
        )
    if not config.session_ttl_seconds:
        yield ok("expiry", "sessions never expire")
        return
    lives = timedelta(seconds=config.session_ttl_seconds)
    told = f"a session lives {humanize.naturaldelta(lives)}"
    between = f"up to {humanize.naturaldelta(longest_wait)} between two runs" if longest_wait else ""
    if longest_wait is None:
        yield warning(
            "expiry", f"{told}, and nothing is scheduled", "`session-memory serve`, or `prefect deploy --all`."
        )
    elif lives <= longest_wait:
        yield problem(
            "expiry",
            f"{told}, and it is {between}: turns expire in between",
            "Raise SESSION_TTL_SECONDS where the agents run, or run the schedule more often (prefect.yaml).",
        )
    else:
        yield ok("expiry", f"{told}, and it is {between}")


def _redaction() -> Finding:
    hook = get_settings().redact
    try:
        redaction.load(hook)
    except SessionMemoryError as error:
        return problem("redaction", error.code.replace("_", " "), str(error))
    return ok("redaction", hook or "off: what was said is kept as it was said")


def _improve() -> Finding:
    if get_improve_config().auto_enabled and get_settings().redact:
        return warning(
            "cognee's own path",
            "IMPROVE_AUTO_ENABLED is on: remember() persists sessions too, and masks nothing",
            "Set IMPROVE_AUTO_ENABLED=false where the agents run: SESSION_MEMORY_REDACT is for what goes this way.",
        )
    if get_improve_config().auto_enabled:
        return warning(
            "cognee's own path",
            "IMPROVE_AUTO_ENABLED is on: remember() persists sessions too",
            "What it stored is recognised and not stored again; but it loses and doubles turns of its own. "
            "Set IMPROVE_AUTO_ENABLED=false where the agents run.",
        )
    return ok("cognee's own path", "IMPROVE_AUTO_ENABLED is off")


def _access_control() -> Finding:
    if backend_access_control_enabled():
        return ok("access control", "on: each dataset has stores of its own")
    return problem(
        "access control",
        "off: all datasets share one graph, and whoever asks it reads everybody's conversations",
        "Set ENABLE_BACKEND_ACCESS_CONTROL=true, here and where the agents run.",
    )


async def _models(*, ask: bool) -> AsyncIterator[Finding]:
    llm = get_llm_config().llm_model
    embeddings = get_embedding_engine()
    if not ask:
        yield ok("LLM", f"{llm}, not asked (--models asks it)")
        yield ok("embeddings", f"{embeddings.model}, {embeddings.get_vector_size()} numbers a vector, not asked")
        return

    async def one_word() -> None:
        await LLMGateway.acreate_structured_output("hello", "Answer with one word.", str)

    async def one_vector() -> str:
        (vector,) = await embeddings.embed_text(["hello"])
        if len(vector) != embeddings.get_vector_size():
            raise ValueError
        return f", {len(vector)} numbers a vector"

    yield await _answers("LLM", llm, one_word, "Set LLM_PROVIDER, LLM_MODEL, LLM_API_KEY, LLM_ENDPOINT.")
    advice = "Set EMBEDDING_PROVIDER, EMBEDDING_MODEL, EMBEDDING_DIMENSIONS, EMBEDDING_API_KEY."
    yield await _answers("embeddings", embeddings.model, one_vector, advice)


async def _graph(target: Target, several: bool) -> Finding:
    async def ask() -> None:
        async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
            await (await get_graph_engine()).is_empty()

    provider = get_graph_config().graph_database_provider
    if provider not in _FILES:
        advice = "Set GRAPH_DATABASE_PROVIDER, GRAPH_DATABASE_URL and its account."
        return await _answers("graph", provider, ask, advice)
    if several:
        return problem(
            "graph",
            f"{provider} is a file, and there are several machines",
            _ONE_MACHINE.format(setting="GRAPH_DATABASE_PROVIDER"),
        )
    # Opened, it would be held, which is a writer's to do.
    return ok("graph", f"{provider}, a file of one machine")


async def _vectors(target: Target, several: bool) -> AsyncIterator[Finding]:
    async def ask() -> None:
        async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
            await (await get_vector_engine_async()).has_collection("DocumentChunk_text")

    provider = get_vectordb_config().vector_db_provider
    yield await _answers("vectors", provider, ask, "Set VECTOR_DB_PROVIDER, VECTOR_DB_URL and its account.")
    if several and provider in _FILES:
        yield problem(
            "vectors",
            f"{provider} is a folder, and there are several machines",
            _ONE_MACHINE.format(setting="VECTOR_DB_PROVIDER=pgvector"),
        )
