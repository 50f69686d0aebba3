"""Writes documents to a dataset's graph and takes them out again. The caller holds the dataset lock."""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any
from uuid import UUID

import cognee
from cognee.api.v1.cognify.cognify import get_default_tasks
from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.provenance.markers import mark_graph_provenance_if_empty
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.databases.vector.compact_vector_store import compact_vector_store
from cognee.infrastructure.locks import dataset_lock as cognee_dataset_lock
from cognee.modules.cognify.recovery import _close_as_abandoned
from cognee.modules.cognify.rollback import cognify_rollback_handler
from cognee.modules.data.methods import delete_data
from cognee.modules.data.models import Data, Dataset
from cognee.modules.graph.methods import (
    delete_data_nodes_and_edges,
    has_data_related_nodes,
    try_delete_data_by_graph_provenance,
)
from cognee.modules.pipelines import run_pipeline
from cognee.modules.pipelines.methods import get_unterminated_pipeline_runs
from cognee.modules.pipelines.run_ownership import claim_run_ownership
from cognee.modules.pipelines.tasks.task import Task
from cognee.modules.users.models import User
from cognee.tasks.ingestion.data_item import DataItem
from sqlalchemy import select

from session_memory import document, fault_points
from session_memory.errors import SessionMemoryError, WriteFailed, WriteTookTooLong
from session_memory.failures import classify
from session_memory.holdings import HeldWindow
from session_memory.joining import Gate
from session_memory.ledger import is_complete
from session_memory.models import Target
from session_memory.traces import Traces, traces_of

_COGNIFY = "cognify_pipeline"

#: `add` keeps a connection to Postgres for each document it works on while it asks the pool for another. Had the
#: documents of all datasets the 40 connections of the pool, none would go on. One `add` at a time, of so many:
_ADDED_AT_ONCE = 10
_adding = asyncio.Lock()

#: How long a document that could be stored waits for others that answer at about the same time.
_QUIET_SECONDS = 0.25


@dataclass(repr=False)
class SessionDocument(DataItem):  # type: ignore[misc]
    """A window for `cognee.add`, which logs and stores the `repr` of what it is given: ours is the id."""

    def __repr__(self) -> str:
        return str(self.data_id)


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of a group of documents."""

    #: In the graph.
    complete: set[UUID]
    #: Not in the graph, and no trace of them left in the dataset.
    failed: dict[UUID, SessionMemoryError]
    #: The nodes and edges that they added or touched.
    traces: Traces


async def write(
    target: Target, user: User, windows: Sequence[HeldWindow], *, asked: Callable[[], None], timeout_seconds: float
) -> Written:
    """Add and cognify a group of windows: one `add`, one pipeline run over just those rows.

    A document that fails, or is not finished in time, is taken out again, and the others stay.

    Args:
        asked: called when the LLM was asked about every document, or has answered about one.
    """
    ids = [window.data_id for window in windows]
    try:
        await recover(target)
        async with asyncio.timeout(timeout_seconds):
            await _add(target, user, windows)
            fault_points.reach("added")
            errors, traces = await _cognify(target, user, await _rows(target, ids), asked)
    except TimeoutError:
        errors, traces = dict.fromkeys(ids, WriteTookTooLong(seconds=round(timeout_seconds))), Traces()
    except Exception as error:  # noqa: BLE001 - whatever cognee or its stores raise becomes an error of ours
        errors, traces = dict.fromkeys(ids, classify(error)), Traces()
    fault_points.reach("cognified")
    complete = await complete_among(target, ids)
    failed = {
        data_id: errors.get(data_id, WriteFailed(kind="the pipeline left it out"))
        for data_id in ids
        if data_id not in complete
    }
    for window in windows:
        # Only what can be written again: a document whose frozen text is purged is its only copy.
        if window.data_id in failed and window.text is not None:
            await remove(target, window.data_id)
    return Written(complete=complete, failed=failed, traces=traces)


async def complete_among(target: Target, ids: Sequence[UUID]) -> set[UUID]:
    """Those documents that cognee's own rows say are in the dataset's graph."""
    async with get_relational_engine().get_async_session() as session:
        found = await session.scalars(select(Data.id).where(Data.id.in_(ids), is_complete(target.dataset_id)))
        return set(found)


async def remove(target: Target, data_id: UUID) -> None:
    """Take a document out of the graph, the vectors and the dataset, if it is there.

    Not `cognee.forget`: that also deletes *cached* turns of any session whose graph elements it touches,
    persisted or not (`modules/session_lifecycle/invalidate_sessions.py`).
    """
    fault_points.reach("before-remove")
    async with cognee_dataset_lock(target.dataset_id):
        rows = await _rows(target, [data_id])
        if not rows:
            return
        async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
            # As `datasets.delete_data`: rows in the relational ledger, else provenance in the graph itself.
            if await has_data_related_nodes(target.dataset_id, data_id):
                await delete_data_nodes_and_edges(target.dataset_id, data_id, target.dataset_owner_id)
            else:
                await try_delete_data_by_graph_provenance(target.dataset_id, data_id)
            await delete_data(rows[0], target.dataset_id)
    fault_points.reach("removed")


async def recover(target: Target) -> None:
    """Roll back what a killed writer left half done in the dataset, and close its runs.

    cognee does so only in its API server, and only after an hour; under the dataset lock no writer of ours
    can be alive, and cognee's ownership marker says the same of any other process on this machine.
    """
    for run in await get_unterminated_pipeline_runs():
        if run.dataset_id != target.dataset_id:
            continue
        with claim_run_ownership(run) as ownership:
            if ownership is None:
                continue
            async with get_relational_engine().get_async_session() as session:
                dataset = await session.get(Dataset, target.dataset_id)
            async with (
                cognee_dataset_lock(target.dataset_id),
                set_database_global_context_variables(target.dataset_id, target.dataset_owner_id),
            ):
                if run.pipeline_name == _COGNIFY:
                    await cognify_rollback_handler(
                        pipeline_run_id=run.pipeline_run_id, dataset=dataset, keep_completed_data=True
                    )
                await _close_as_abandoned(run, dataset)
            ownership.closed = True


async def _add(target: Target, user: User, windows: Sequence[HeldWindow]) -> None:
    items = [
        SessionDocument(
            data=window.text,
            data_id=window.data_id,
            label=f"session {window.session_id}",
            external_metadata=document.Metadata(
                session_id=window.session_id, owner_id=target.user_id, turns=window.turns, replaces=window.replaces
            ).dump(),
            node_set=list(window.node_set),
            literal_text=True,
        )
        for window in windows
        if window.text is not None
    ]
    if items:
        async with _adding:
            await cognee.add(items, dataset_id=target.dataset_id, user=user, data_per_batch=_ADDED_AT_ONCE)


async def _cognify(
    target: Target, user: User, rows: Sequence[Data], asked: Callable[[], None]
) -> tuple[dict[UUID, SessionMemoryError], Traces]:
    """Run cognee's pipeline over `rows`; the errors of those that failed, and what the others left in the graph."""
    results: list[dict[str, Any]] = []
    run_id: UUID | None = None
    async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
        # Once, before every document of a new dataset tries to.
        await mark_graph_provenance_if_empty(await get_graph_engine())
    with _item_errors_kept():
        async for info in run_pipeline(
            tasks=await _tasks(user, len(rows), asked),
            data=list(rows),
            datasets=[target.dataset_id],
            user=user,
            pipeline_name=_COGNIFY,
            incremental_loading=True,
            data_cache=True,
            data_per_batch=len(rows),
            rollback_handler=partial(cognify_rollback_handler, keep_completed_data=True),
        ):
            run_id = info.pipeline_run_id
            results = getattr(info, "data_ingestion_info", None) or results
    traces = await traces_of(target, run_id) if run_id is not None else Traces()
    errors = {UUID(str(result["data_id"])): classify(result["error"]) for result in results if result.get("error")}
    return errors, traces


async def _rows(target: Target, ids: Sequence[UUID]) -> list[Data]:
    async with get_relational_engine().get_async_session() as session:
        rows = await session.scalars(select(Data).where(Data.id.in_(ids), Data.dataset_id == target.dataset_id))
        return list(rows)


async def _tasks(user: User, documents: int, asked: Callable[[], None]) -> list[Task]:
    """cognee's own tasks, in another rhythm.

    Documents are cut into chunks one after another, so that the LLM is asked about the first while the others are
    still cut: else all would be cut before any question is sent. And those that are answered at about the same time
    are stored at the same time, for their writes to be joined.
    """
    classify, cut, ask, store, *rest = [_text_free(task) for task in await get_default_tasks(user=user)]
    turn = asyncio.Lock()
    gate = Gate(documents, quiet_seconds=_QUIET_SECONDS)
    cut_one, ask_about, store_one = cut.executable, ask.executable, store.executable
    unasked = documents

    @wraps(cut_one)
    async def cut_in_turn(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with turn:
            chunks = [chunk async for chunk in cut_one(*args, **kwargs)]
        for chunk in chunks:
            yield chunk

    @wraps(ask_about)
    async def ask_and_tell(*args: Any, **kwargs: Any) -> Any:
        nonlocal unasked
        unasked -= 1
        if unasked:
            return await ask_about(*args, **kwargs)
        asyncio.get_running_loop().call_soon(asked)
        return await _while_compacting(ask_about(*args, **kwargs))

    @wraps(store_one)
    async def store_together(*args: Any, **kwargs: Any) -> Any:
        asked()
        await gate.arrive()
        return await store_one(*args, **kwargs)

    cut.executable, ask.executable, store.executable = cut_in_turn, ask_and_tell, store_together
    return [classify, cut, ask, store, *rest]


async def _while_compacting(answer: Coroutine[Any, Any, Any]) -> Any:
    """Wait for the LLM, and meanwhile fold the fragments that earlier writes left in the vector store.

    Without it they pile up, and every later run pays for them. cognee logs its failure, and goes on.
    """
    tasks = [asyncio.ensure_future(answer), asyncio.ensure_future(compact_vector_store())]
    try:
        return (await asyncio.gather(*tasks))[0]
    finally:
        # Of a pass that was cancelled nothing runs on: it waits for its end.
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def _text_free(task: Task) -> Task:
    """The task, with its errors told in our words: cognee logs and stores what they say, and they quote text."""
    run = task.executable

    @wraps(run)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        try:
            return await run(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - any of them may quote the document
            raise classify(error) from None

    @wraps(run)
    async def generator(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        try:
            async for item in run(*args, **kwargs):
                yield item
        except Exception as error:  # noqa: BLE001 - as above
            raise classify(error) from None

    task.executable = generator if inspect.isasyncgenfunction(run) else coroutine
    return task


_keeping = 0


@contextmanager
def _item_errors_kept() -> Iterator[None]:
    """Let a failing document fail alone instead of cancelling its siblings.

    cognee reads this from the environment at the moment of failure, for the whole process: so it is set only
    while a commit runs, and put back when the last of several has ended.
    """
    global _keeping
    key = "RAISE_INCREMENTAL_LOADING_ERRORS"
    if _keeping == 0:
        _item_errors_kept.before = os.environ.get(key)  # type: ignore[attr-defined]
    _keeping += 1
    os.environ[key] = "false"
    try:
        yield
    finally:
        _keeping -= 1
        if _keeping == 0:
            before = _item_errors_kept.before  # type: ignore[attr-defined]
            if before is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = before
