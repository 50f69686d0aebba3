"""Removes a session, or one turn of it, from a dataset, so that it does not come back: `session-memory forget`.

What is left is its name in the ledger: ids and hashes of turns, in windows that count as removed on purpose.
"""

import asyncio
from collections.abc import Iterable
from uuid import UUID

from cognee.context_global_variables import vector_db_config
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.session.get_session_manager import get_session_manager
from cognee.infrastructure.session.session_embeddings import delete_session_qa_vectors
from cognee.modules.data.models import Dataset
from sqlalchemy import select

from session_memory import access, dataset_hold, erasure, graph_writer, ledger, ledger_index, planning, repair
from session_memory.errors import (
    ExtractionConflict,
    NeighboursLost,
    SessionMemoryError,
    SessionNotFound,
    TurnNotFound,
    TurnStoredByCognee,
)
from session_memory.extraction import extract
from session_memory.foreign import ForeignDocuments
from session_memory.forget_report import ForgetReport
from session_memory.holdings import HeldSession
from session_memory.models import Target
from session_memory.picture import folder as pictures
from session_memory.settings import Settings


async def forget(target: Target, session_id: str, *, turn: str | None, cache: bool, settings: Settings) -> ForgetReport:
    """Remove a session from the dataset's documents, graph and vectors, and its text from the ledger.

    The other turns of a document that holds the one `turn` are pending afterwards, frozen in the ledger.

    Args:
        turn: only this one, by its `qa_id`.
        cache: remove it from the cache too.

    Raises:
        NoDeletePermission, SessionNotFound, TurnNotFound, TurnStoredByCognee, NeighboursLost: nothing was removed.
        DatasetBusy, GraphHeld: another process had the dataset for longer than the settings allow to wait.
    """
    await access.require_delete(target)
    # Frozen first, so that what was only cached has a name in the ledger too, by which it stays away.
    (plan,) = (await extract(target, [session_id], settings)).sessions
    if plan.error:
        refused = SessionMemoryError(plan.error)
        refused.code = plan.error_code or refused.code
        raise refused
    if not plan.known:
        raise SessionNotFound(session_id=session_id, user=target.user_email, dataset=target.dataset_name)
    hold = dataset_hold.hold(target, holder="forget", wait_seconds=settings.lock_wait_seconds)
    async with hold:
        held = await ledger.session_in(target, session_id)
        if turn is None:
            report = await _session(target, session_id, held)
        else:
            report = await _turn(target, session_id, held, turn)
        if cache:
            # In a task, whose context ends with it.
            await asyncio.create_task(_uncache(target, session_id, turn))
        in_use = await erasure.erase(target, cache=cache)
    # They show what its turns were about.
    pictures.remove(pictures.folder_in(settings.state_path), target.dataset_name)
    elsewhere = await _elsewhere(target, session_id)
    return report.model_copy(update={"cache": cache, "elsewhere": elsewhere, "files_in_use": tuple(in_use)})


async def _session(target: Target, session_id: str, held: HeldSession) -> ForgetReport:
    forgotten = [
        turn
        for turn in held.turns.values()
        if not (turn.data_id and (window := held.windows.get(turn.data_id)) and window.forgotten)
    ]
    await ledger.forget(target, held.windows)
    written = [window.data_id for window in held.windows.values() if window.written]
    foreign = await ForeignDocuments(target).of(session_id)
    await _remove(target, [*written, *foreign])
    return ForgetReport(
        user=target.user_email,
        dataset=target.dataset_name,
        session_id=session_id,
        turns_forgotten=len(forgotten),
        documents_removed=len(written) + len(foreign),
    )


async def _turn(target: Target, session_id: str, held: HeldSession, qa_id: str) -> ForgetReport:
    turn = held.turns.get(qa_id)
    if turn is None:
        raise TurnNotFound(session_id=session_id, turn=qa_id, dataset=target.dataset_name)
    if turn.data_id is None:
        raise TurnStoredByCognee(turn=qa_id)
    window = held.windows[turn.data_id]
    others = len(window.turns) - 1
    # Earlier forms of the turn, in windows that were replaced.
    older = [
        other
        for other in held.windows.values()
        if other.data_id != window.data_id and qa_id in {one.qa_id for one in other.turns}
    ]
    if others and not window.forgotten:
        texts = await repair.texts_anywhere(target, [window])
        if window.data_id not in texts:
            raise NeighboursLost(turn=qa_id, session_id=session_id)
        changes = planning.without(target, window, texts[window.data_id], qa_id)
        try:
            await ledger.freeze(target, {session_id: changes})
        except ledger.Conflict:
            raise ExtractionConflict(session_id=session_id) from None
        await ledger.forget(target, [changes.windows[0].data_id])
    await ledger.forget(target, [window.data_id, *(other.data_id for other in older)])
    written = [one.data_id for one in (window, *older) if one.written]
    await _remove(target, written)
    return ForgetReport(
        user=target.user_email,
        dataset=target.dataset_name,
        session_id=session_id,
        turn=qa_id,
        turns_forgotten=int(not window.forgotten),
        documents_removed=len(written),
        turns_rewritten=0 if window.forgotten else others,
    )


async def _remove(target: Target, data_ids: Iterable[UUID]) -> None:
    for data_id in data_ids:
        await graph_writer.remove(target, data_id)


async def _uncache(target: Target, session_id: str, turn: str | None) -> None:
    # What the cache holds has its vectors outside all datasets; cognee leaves the last dataset set when a block ends.
    vector_db_config.set(None)
    manager = get_session_manager()
    if turn is None:
        await manager.delete_session(user_id=str(target.user_id), session_id=session_id)
        # cognee does so only for a session that had not expired.
        await delete_session_qa_vectors(user_id=str(target.user_id), session_id=session_id)
    else:
        await manager.delete_qa(user_id=str(target.user_id), session_id=session_id, qa_id=turn)


async def _elsewhere(target: Target, session_id: str) -> tuple[str, ...]:
    """The names of other datasets in which the ledger holds the session."""
    found = (await ledger_index.datasets_of(target.user_id, [session_id])).get(session_id, set())
    async with get_relational_engine().get_async_session() as session:
        names = await session.scalars(select(Dataset.name).where(Dataset.id.in_(found - {target.dataset_id})))
        return tuple(sorted(names))
