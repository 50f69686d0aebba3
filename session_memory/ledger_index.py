"""Which sessions the ledger holds: in which datasets, and what it has frozen that is in none."""

from collections.abc import AsyncIterator
from uuid import UUID

from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.modules.data.models import Data, Dataset
from sqlalchemy import ColumnElement, and_, func, not_, or_, select, true, tuple_

from session_memory.ledger import generation_of, is_complete
from session_memory.ledger_schema import State, TurnRow, WindowRow
from session_memory.models import Target

_PAGE = 400

#: Owner, dataset, session id.
Key = tuple[UUID, UUID, str]


async def datasets_of(owner_id: UUID, session_ids: list[str]) -> dict[str, set[UUID]]:
    """The datasets in which the ledger holds each of an owner's sessions, for those it holds."""
    found: dict[str, set[UUID]] = {}
    async with get_relational_engine().get_async_session() as session:
        for start in range(0, len(session_ids), _PAGE):
            rows = await session.execute(
                select(WindowRow.session_id, WindowRow.dataset_id)
                .where(WindowRow.owner_id == owner_id, WindowRow.session_id.in_(session_ids[start : start + _PAGE]))
                .distinct()
            )
            for session_id, dataset_id in rows:
                found.setdefault(session_id, set()).add(dataset_id)
    return found


async def sessions(*, quarantine_attempts: int | None) -> AsyncIterator[list[Key]]:
    """Sessions of the ledger, a page at a time, dataset by dataset; none of a deleted dataset.

    Args:
        quarantine_attempts: only sessions with windows that were frozen and are not in their dataset, or with replaced
            ones that still are. Quarantined windows count while they have fewer attempts, and what was removed from a
            dataset on purpose does not. None: all sessions.
    """
    for dataset in await _datasets():
        wanted = true() if quarantine_attempts is None else _is_unfinished(dataset, quarantine_attempts)
        async for page in _sessions_in(dataset, wanted):
            yield page


async def sessions_of(target: Target) -> AsyncIterator[list[str]]:
    """The sessions of a user that the ledger holds for a dataset, a page at a time."""
    async with get_relational_engine().get_async_session() as session:
        dataset = await session.get(Dataset, target.dataset_id)
    if dataset is not None:
        async for page in _sessions_in(dataset, WindowRow.owner_id == target.user_id):
            yield [session_id for _, _, session_id in page]


async def names() -> dict[UUID, str]:
    """The datasets that the ledger holds something of, by id; no deleted ones."""
    return {dataset.id: dataset.name for dataset in await _datasets()}


async def quarantined_turns(dataset_ids: list[UUID]) -> dict[UUID, int]:
    """How many turns the LLM refused and nobody released yet, for those of the datasets that have any."""
    found: dict[UUID, int] = {}
    async with get_relational_engine().get_async_session() as session:
        for start in range(0, len(dataset_ids), _PAGE):
            rows = await session.execute(
                select(WindowRow.dataset_id, func.count(TurnRow.qa_id))
                .join(TurnRow, TurnRow.data_id == WindowRow.data_id)
                .where(
                    WindowRow.dataset_id.in_(dataset_ids[start : start + _PAGE]),
                    WindowRow.state == State.QUARANTINED,
                )
                .group_by(WindowRow.dataset_id)
            )
            found |= {dataset_id: count for dataset_id, count in rows}
    return found


async def _datasets() -> list[Dataset]:
    async with get_relational_engine().get_async_session() as session:
        of_ledger = select(WindowRow.dataset_id).distinct()
        return list(await session.scalars(select(Dataset).where(Dataset.id.in_(of_ledger))))


def _is_unfinished(dataset: Dataset, quarantine_attempts: int) -> ColumnElement[bool]:
    in_dataset = and_(Data.id == WindowRow.data_id, Data.dataset_id == dataset.id)
    not_there = not_(select(Data.id).where(in_dataset, is_complete(dataset.id)).exists())
    written = select(Data.id).where(in_dataset).exists()
    forgotten = and_(
        WindowRow.first_seen_complete_at.is_not(None),
        WindowRow.dataset_generation == generation_of(dataset),
        not_(written),
    )
    again = and_(WindowRow.state == State.QUARANTINED, WindowRow.attempts < quarantine_attempts)
    planned = or_(WindowRow.state == State.PLANNED, again)
    return or_(and_(planned, not_there, not_(forgotten)), and_(WindowRow.state == State.SUPERSEDED, written))


async def _sessions_in(dataset: Dataset, wanted: ColumnElement[bool]) -> AsyncIterator[list[Key]]:
    after: tuple[UUID, str] | None = None
    while True:
        query = (
            select(WindowRow.owner_id, WindowRow.session_id)
            .where(WindowRow.dataset_id == dataset.id, wanted)
            .distinct()
            .order_by(WindowRow.owner_id, WindowRow.session_id)
            .limit(_PAGE)
        )
        if after is not None:
            query = query.where(tuple_(WindowRow.owner_id, WindowRow.session_id) > after)
        async with get_relational_engine().get_async_session() as session:
            rows = (await session.execute(query)).all()
        if not rows:
            return
        yield [(owner_id, dataset.id, session_id) for owner_id, session_id in rows]
        after = (rows[-1][0], rows[-1][1])
