"""What was planned for a dataset, and, derived from cognee's own rows, what became of it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.modules.data.models import Data, Dataset
from cognee.modules.pipelines.models.DataItemStatus import DataItemStatus
from sqlalchemy import ColumnElement, CursorResult, Update, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from session_memory.errors import DatasetGone, LedgerUnreadable
from session_memory.holdings import Changes, HeldSession, HeldTurn, HeldWindow
from session_memory.ledger_schema import State, TurnRow, WindowRow
from session_memory.models import Target, TurnRef

#: SQLite takes some thousand values in a statement.
_PAGE = 400

Id = TypeVar("Id")


class Conflict(Exception):
    """Another run changed the session's plan in between; read it again."""


def is_complete(dataset_id: UUID) -> ColumnElement[bool]:
    """cognee's own record that a document is in the dataset's graph."""
    status = Data.pipeline_status[("cognify_pipeline", str(dataset_id))].as_string()
    return and_(Data.dataset_id == dataset_id, status == DataItemStatus.DATA_ITEM_PROCESSING_COMPLETED.value)


def says_complete(row: Data, dataset_id: UUID) -> bool:
    """As `is_complete`, of a row that was read."""
    status = (row.pipeline_status or {}).get("cognify_pipeline", {}).get(str(dataset_id))
    return bool(status == DataItemStatus.DATA_ITEM_PROCESSING_COMPLETED.value)


def generation_of(dataset: Dataset) -> str:
    """What tells a dataset from one made again under its name; compared for equality only, never with a clock."""
    return str(dataset.created_at.replace(tzinfo=None).isoformat())


async def session_in(target: Target, session_id: str) -> HeldSession:
    """What the ledger holds of a session; see `sessions_in`.

    Raises:
        DatasetGone: the dataset was deleted.
        LedgerUnreadable: a row is not what this program writes.
    """
    return (await _sessions(target, [session_id]))[session_id]


async def sessions_in(target: Target, session_ids: Sequence[str]) -> dict[str, HeldSession | LedgerUnreadable]:
    """What the ledger holds of each session, or why that cannot be read.

    First brings it up to date with the dataset: windows seen complete for the first time are noted, and what
    a deleted dataset held is pending again in the one made under its name. Turns lost from the ledger are taken
    from the windows that hold them; those of a lost window are unknown again.

    Raises:
        DatasetGone: the dataset was deleted.
    """
    found: dict[str, HeldSession | LedgerUnreadable] = {}
    for page in _pages(session_ids):
        try:
            found |= await _sessions(target, page)
        except LedgerUnreadable:
            for session_id in page:
                try:
                    found |= await _sessions(target, [session_id])
                except LedgerUnreadable as error:
                    found[session_id] = error
    return found


async def windows_by_id(target: Target, data_ids: Iterable[UUID]) -> dict[UUID, HeldWindow]:
    """Windows by their ids, with their text."""
    found: dict[UUID, HeldWindow] = {}
    async with get_relational_engine().get_async_session() as session:
        for page in _pages(list(data_ids)):
            for row, written, complete in await _windows(session, target, WindowRow.data_id.in_(page)):
                found[row.data_id] = _held(row, written, complete)
    return found


async def successors(target: Target, data_id: UUID) -> dict[UUID, HeldWindow]:
    """The windows that hold the turns of a superseded window now."""
    async with get_relational_engine().get_async_session() as session:
        rows = await _windows(session, target, WindowRow.replaces == data_id)
    found: dict[UUID, HeldWindow] = {}
    for row, written, complete in rows:
        if row.state == State.SUPERSEDED:
            found |= await successors(target, row.data_id)
        else:
            found[row.data_id] = _held(row, written, complete)
    return found


async def freeze(target: Target, plans: Mapping[str, Changes]) -> None:
    """Write the plans of sessions down before anything of them is carried out.

    Raises:
        Conflict: another run planned one of the turns meanwhile; nothing of these plans was written.
        DatasetGone: the dataset was deleted.
    """
    async with get_relational_engine().get_async_session() as session:
        generation = await _generation(session, target)
        try:
            for session_id, changes in plans.items():
                await _write(session, target, session_id, changes, generation)
            await session.commit()
        except IntegrityError:
            await session.rollback()
            raise Conflict from None


async def note_complete(target: Target, data_ids: Sequence[UUID]) -> None:
    """Remember that windows were seen in the dataset, so that one removed later is not written again."""
    async with get_relational_engine().get_async_session() as session:
        generation = await _generation(session, target)
        for page in _pages(list(data_ids)):
            await session.execute(
                update(WindowRow)
                .where(WindowRow.data_id.in_(page), WindowRow.first_seen_complete_at.is_(None))
                .values(first_seen_complete_at=datetime.now(UTC), dataset_generation=generation, error_code=None)
            )
            await session.execute(
                update(WindowRow)
                .where(WindowRow.data_id.in_(page), WindowRow.state == State.QUARANTINED)
                .values(state=State.PLANNED)
            )
        await session.commit()


async def note_failure(data_id: UUID, *, error_code: str, quarantine: bool) -> None:
    """Note why a window failed; `quarantine` counts the attempt and sets the window apart from other work."""
    values: dict[str, Any] = {"error_code": error_code}
    if quarantine:
        values |= {"state": State.QUARANTINED, "attempts": WindowRow.attempts + 1}
    async with get_relational_engine().get_async_session() as session:
        await session.execute(update(WindowRow).where(WindowRow.data_id == data_id).values(**values))
        await session.commit()


async def release(target: Target, session_id: str) -> int:
    """Make the quarantined windows of a session pending again, attempts forgotten; returns how many."""
    async with get_relational_engine().get_async_session() as session:
        released = await _update(
            session,
            update(WindowRow)
            .where(_of(WindowRow, target, session_id), WindowRow.state == State.QUARANTINED)
            .values(state=State.PLANNED, attempts=0, error_code=None),
        )
        await session.commit()
        return released


async def forget(target: Target, data_ids: Iterable[UUID]) -> None:
    """Drop the text of windows and mark them as removed on purpose, never to be written again."""
    async with get_relational_engine().get_async_session() as session:
        for page in _pages(list(data_ids)):
            await session.execute(
                update(WindowRow)
                .where(WindowRow.data_id.in_(page), WindowRow.dataset_id == target.dataset_id)
                .values(text=None, error_code=None, first_seen_complete_at=datetime.now(UTC))
            )
            await session.execute(
                update(WindowRow)
                .where(WindowRow.data_id.in_(page), WindowRow.state == State.QUARANTINED)
                .values(state=State.PLANNED)
            )
        await session.commit()


async def reopen(target: Target, texts: Mapping[UUID, str]) -> None:
    """Make windows pending again once their documents are removed from the dataset: each has its text back."""
    async with get_relational_engine().get_async_session() as session:
        for data_id, text in texts.items():
            await session.execute(
                update(WindowRow)
                .where(WindowRow.data_id == data_id, WindowRow.dataset_id == target.dataset_id)
                .values(text=text, first_seen_complete_at=None)
            )
        await session.commit()


async def purge_texts(target: Target, *, older_than_days: float) -> int:
    """Drop the frozen text of windows long in the dataset; returns how many. What is not there keeps its text."""
    before = datetime.now(UTC) - timedelta(days=older_than_days)
    in_dataset = select(Data.id).where(Data.id == WindowRow.data_id, is_complete(target.dataset_id)).exists()
    async with get_relational_engine().get_async_session() as session:
        purged = await _update(
            session,
            update(WindowRow)
            .where(
                WindowRow.dataset_id == target.dataset_id,
                WindowRow.text.is_not(None),
                WindowRow.first_seen_complete_at < before,
                in_dataset,
            )
            .values(text=None)
            .execution_options(synchronize_session=False),
        )
        await session.commit()
        return purged


async def _write(session: AsyncSession, target: Target, session_id: str, changes: Changes, generation: str) -> None:
    owner = _owner(target, session_id)
    if changes.supersedes:
        superseded = await _update(
            session,
            update(WindowRow)
            .where(WindowRow.data_id.in_(changes.supersedes), WindowRow.state != State.SUPERSEDED)
            .values(state=State.SUPERSEDED),
        )
        if superseded != len(changes.supersedes):
            raise Conflict
    for window in changes.windows:
        session.add(
            WindowRow(
                data_id=window.data_id,
                **owner,
                state=State.PLANNED,
                text=window.document.text,
                turns=[turn.model_dump(mode="json") for turn in window.document.turns],
                node_set=list(window.node_set),
                replaces=window.replaces,
                dataset_generation=generation,
            )
        )
    await session.flush()
    held: list[tuple[str, str, UUID | None]] = [
        (turn.qa_id, turn.hash, window.data_id) for window in changes.windows for turn in window.document.turns
    ]
    held += [(qa_id, digest, None) for qa_id, digest in changes.foreign.items()]
    fresh = []
    for qa_id, digest, data_id in held:
        values = {"hash": digest, "data_id": data_id, "dataset_generation": generation}
        before = changes.known.get(qa_id)
        if before is None:
            fresh.append({**owner, "qa_id": qa_id, **values})
            continue
        as_known = update(TurnRow).filter_by(**owner, qa_id=qa_id, hash=before.hash, data_id=before.data_id)
        if await _update(session, as_known.values(**values)) != 1:
            raise Conflict
    if fresh:
        await session.execute(insert(TurnRow), fresh)


async def _sessions(target: Target, session_ids: Sequence[str]) -> dict[str, HeldSession]:
    of_these = WindowRow.session_id.in_(session_ids)
    async with get_relational_engine().get_async_session() as session:
        generation = await _generation(session, target)
        windows = await _windows(session, target, of_these)
        unsettled = {row.data_id for row, _, _ in windows if not row.first_seen_complete_at}
        stale = [row for row, _, _ in windows if row.dataset_generation != generation]
        if stale or any(complete and not row.first_seen_complete_at for row, _, complete in windows):
            await _catch_up(session, windows, generation)
            await session.commit()
            windows = await _windows(session, target, of_these)
        held: dict[str, dict[UUID, HeldWindow]] = {session_id: {} for session_id in session_ids}
        for row, written, complete in windows:
            unfinished = row.data_id in unsettled
            held[row.session_id][row.data_id] = _held(row, written, complete, unsettled=unfinished)
        turns = await _turns(session, target, held, generation)
        await session.commit()
    return {
        session_id: HeldSession(windows=windows_of, turns=turns[session_id]) for session_id, windows_of in held.items()
    }


async def _turns(
    session: AsyncSession, target: Target, held: Mapping[str, Mapping[UUID, HeldWindow]], generation: str
) -> dict[str, dict[str, HeldTurn]]:
    """The turns of sessions, after what is lost of them was mended."""
    found: dict[str, dict[str, HeldTurn]] = {session_id: {} for session_id in held}
    owned = and_(TurnRow.dataset_id == target.dataset_id, TurnRow.owner_id == target.user_id)
    for row in (await session.scalars(select(TurnRow).where(owned, TurnRow.session_id.in_(held)))).all():
        # What cognee had stored in a dataset that is gone is stored no more.
        lost = row.data_id not in held[row.session_id] if row.data_id else row.dataset_generation != generation
        if lost:
            await session.delete(row)
        else:
            found[row.session_id][row.qa_id] = HeldTurn(qa_id=row.qa_id, hash=row.hash, data_id=row.data_id)
    await session.flush()
    for session_id, windows in held.items():
        for turn in _unheld(windows.values(), found[session_id]):
            found[session_id][turn.qa_id] = turn
            values = {"hash": turn.hash, "data_id": turn.data_id, "dataset_generation": generation}
            await session.execute(insert(TurnRow).values(**_owner(target, session_id), qa_id=turn.qa_id, **values))
    return found


async def _update(session: AsyncSession, statement: Update) -> int:
    """Execute an update; how many rows it met."""
    return cast(CursorResult[Any], await session.execute(statement)).rowcount


async def _catch_up(session: AsyncSession, windows: Sequence[tuple[WindowRow, bool, bool]], generation: str) -> None:
    for row, _written, complete in windows:
        if complete and not row.first_seen_complete_at:
            row.first_seen_complete_at = datetime.now(UTC)
        elif row.dataset_generation != generation and not complete:
            row.first_seen_complete_at = None
            if row.text is None and row.state != State.SUPERSEDED:
                # Nothing to write it from: what the cache still holds of it is planned anew.
                await session.execute(delete(TurnRow).where(TurnRow.data_id == row.data_id))
                await session.delete(row)
                continue
        row.dataset_generation = generation
    await session.flush()


async def _generation(session: AsyncSession, target: Target) -> str:
    dataset = await session.get(Dataset, target.dataset_id)
    if dataset is None:
        raise DatasetGone(dataset=target.dataset_name)
    return generation_of(dataset)


async def _windows(
    session: AsyncSession, target: Target, condition: ColumnElement[bool]
) -> list[tuple[WindowRow, bool, bool]]:
    """Rows of the ledger with (document exists, document is complete), oldest first."""
    found = (
        select(WindowRow, Data.id.is_not(None), is_complete(target.dataset_id))
        .outerjoin(Data, and_(Data.id == WindowRow.data_id, Data.dataset_id == target.dataset_id))
        .where(
            WindowRow.dataset_id == target.dataset_id,
            WindowRow.owner_id == target.user_id,
            condition,
        )
        .order_by(WindowRow.created_at, WindowRow.data_id)
        .execution_options(populate_existing=True)
    )
    try:
        return [(row, bool(written), bool(complete)) for row, written, complete in await session.execute(found)]
    except (ValueError, LookupError) as error:
        raise LedgerUnreadable(kind=type(error).__name__) from None


def _unheld(windows: Iterable[HeldWindow], held: Mapping[str, HeldTurn]) -> list[HeldTurn]:
    """Turns of active windows that no row of theirs holds: lost rows. A later window's word counts."""
    found = {
        turn.qa_id: HeldTurn(qa_id=turn.qa_id, hash=turn.hash, data_id=window.data_id)
        for window in windows
        if window.state != State.SUPERSEDED
        for turn in window.turns
    }
    return [turn for qa_id, turn in found.items() if qa_id not in held]


def _held(row: WindowRow, written: bool, complete: bool, *, unsettled: bool = False) -> HeldWindow:
    try:
        turns = tuple(TurnRef.model_validate(turn) for turn in row.turns)
        node_set = tuple(row.node_set)
        state = State(row.state)
    except (ValueError, TypeError) as error:
        raise LedgerUnreadable(kind=type(error).__name__) from None
    return HeldWindow(
        data_id=row.data_id,
        session_id=row.session_id,
        state=state,
        text=row.text,
        turns=turns,
        node_set=node_set,
        replaces=row.replaces,
        attempts=row.attempts,
        error_code=row.error_code,
        written=written,
        complete=complete,
        seen_complete=row.first_seen_complete_at is not None,
        unsettled=unsettled,
    )


def _owner(target: Target, session_id: str) -> dict[str, Any]:
    return {"dataset_id": target.dataset_id, "owner_id": target.user_id, "session_id": session_id}


def _of(table: type[WindowRow] | type[TurnRow], target: Target, session_id: str) -> ColumnElement[bool]:
    return and_(
        table.dataset_id == target.dataset_id,
        table.owner_id == target.user_id,
        table.session_id == session_id,
    )


def _pages(ids: Sequence[Id]) -> Iterable[Sequence[Id]]:
    return (ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE))
