"""Takes documents of ours that the ledger has lost back into it, from what they say of themselves."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.modules.data.models import Data, Dataset
from pydantic import ValidationError
from sqlalchemy import ColumnElement, String, cast, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from session_memory import ledger
from session_memory.document import MARKER, Metadata
from session_memory.errors import DatasetGone
from session_memory.foreign import read_text
from session_memory.ledger_schema import State, TurnRow, WindowRow
from session_memory.models import Target, TurnRef
from session_memory.report import RebuildReport


async def adopt(target: Target) -> int:
    """Enter the dataset's documents that the ledger does not know; returns how many.

    There are none unless the ledger, or a part of it, was lost. A document that another one replaces is entered as
    superseded, so that an edit that was under way is finished.

    Raises:
        DatasetGone: the dataset was deleted.
    """
    async with get_relational_engine().get_async_session() as session:
        dataset = await session.get(Dataset, target.dataset_id)
        if dataset is None:
            raise DatasetGone(dataset=target.dataset_name)
        generation = ledger.generation_of(dataset)
        adopted = [
            await _window(row, metadata, target, generation)
            for row in await _unknown(session, target)
            if (metadata := _metadata(row)) is not None and metadata.owner_id == target.user_id
        ]
        if adopted:
            session.add_all(adopted)
            await session.flush()
            await _supersede_replaced(session, target)
            await session.commit()
        return len(adopted)


async def rebuild(target: Target, *, drop: bool) -> RebuildReport:
    """Drop what cannot be read of the dataset's part of the ledger, and adopt what its documents say instead.

    Args:
        drop: drop windows too that are in no document. What the cache no longer holds of them is lost.

    Raises:
        DatasetGone: the dataset was deleted.
    """
    mine = (WindowRow.dataset_id == target.dataset_id, WindowRow.owner_id == target.user_id)
    async with get_relational_engine().get_async_session() as session:
        # As text: what cannot be read as JSON must not be read as JSON.
        columns = (WindowRow.data_id, WindowRow.state, cast(WindowRow.turns, String), cast(WindowRow.node_set, String))
        rows = (await session.execute(select(*columns).where(*mine))).all()
        unreadable = {data_id for data_id, *values in rows if not _is_readable(*values)}
        documented = set(
            await session.scalars(
                select(Data.id).join(WindowRow, WindowRow.data_id == Data.id).where(*mine, _is_marked())
            )
        )
        dropped = unreadable if drop else unreadable & documented
        for data_id in dropped:
            await session.execute(delete(TurnRow).where(TurnRow.data_id == data_id))
            await session.execute(delete(WindowRow).where(WindowRow.data_id == data_id))
        await session.commit()
    return RebuildReport(
        dropped_windows=len(dropped),
        kept_windows=len(unreadable - dropped),
        adopted_documents=await adopt(target),
    )


async def _unknown(session: AsyncSession, target: Target) -> Sequence[Data]:
    """Documents with our mark and no row in the ledger, oldest first."""
    return (
        await session.scalars(
            select(Data)
            .outerjoin(WindowRow, WindowRow.data_id == Data.id)
            .where(
                Data.dataset_id == target.dataset_id,
                WindowRow.data_id.is_(None),
                _is_marked(),
            )
            .order_by(Data.created_at, Data.id)
        )
    ).all()


def _is_marked() -> ColumnElement[bool]:
    return cast(Data.external_metadata, String).contains(f'"{MARKER}"')


def _metadata(row: Data) -> Metadata | None:
    try:
        return Metadata.model_validate(row.external_metadata)
    except ValidationError:
        # Somebody else's document that happens to use our word.
        return None


async def _window(row: Data, metadata: Metadata, target: Target, generation: str) -> WindowRow:
    complete = ledger.says_complete(row, target.dataset_id)
    node_set = json.loads(row.node_set) if isinstance(row.node_set, str) else row.node_set
    return WindowRow(
        data_id=row.id,
        dataset_id=target.dataset_id,
        owner_id=target.user_id,
        session_id=metadata.session_id,
        state=State.PLANNED,
        # The only copy of what is still to be written.
        text=None if complete else await read_text(row.raw_data_location),
        turns=[turn.model_dump(mode="json") for turn in metadata.turns],
        node_set=node_set or [],
        replaces=metadata.replaces,
        dataset_generation=generation,
        first_seen_complete_at=datetime.now(UTC) if complete else None,
        adopted_at=datetime.now(UTC),
        created_at=row.created_at,
    )


async def _supersede_replaced(session: AsyncSession, target: Target) -> None:
    replaced = select(WindowRow.replaces).where(
        WindowRow.dataset_id == target.dataset_id, WindowRow.replaces.is_not(None)
    )
    await session.execute(
        update(WindowRow)
        .where(WindowRow.data_id.in_(replaced.scalar_subquery()))
        .values(state=State.SUPERSEDED)
        .execution_options(synchronize_session=False)
    )


def _is_readable(state: str, turns: Any, node_set: Any) -> bool:
    try:
        State(state)
        for turn in json.loads(turns):
            TurnRef.model_validate(turn)
        return isinstance(json.loads(node_set), list)
    except (ValueError, TypeError):
        return False
