"""Reads sessions and freezes what is pending of them in the ledger, before anything is written to the graph."""

from collections import Counter
from uuid import UUID

from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.modules.data.models import Data
from sqlalchemy import select

from session_memory import adoption, fault_points, ledger, planning, session_cache
from session_memory.document import CachedSession
from session_memory.errors import ExtractionConflict, LedgerUnreadable, SessionUnreadable
from session_memory.failures import told_in_our_words
from session_memory.foreign import ForeignDocuments, read_text
from session_memory.holdings import HeldSession
from session_memory.models import Extraction, SessionPlan, Target
from session_memory.settings import Settings

#: Other runs would have to change a session's plan so often, each time in between.
_ATTEMPTS = 10


async def extract(target: Target, session_ids: list[str], settings: Settings) -> Extraction:
    """Freeze everything pending of the sessions, and say what that is.

    A session that cannot be read, in the cache or the ledger, is a `SessionPlan` with an error; the others are not
    affected.

    Raises:
        CachingDisabled, CacheUnreachable: no session can be read.
        DatasetGone: the dataset was deleted.
    """
    session_cache.require_caching()
    with told_in_our_words():
        adopted = await adoption.adopt(target)
    documents = ForeignDocuments(target)
    plans = []
    for session_id in dict.fromkeys(session_ids):
        try:
            with told_in_our_words():
                plans.append(await _extract_one(target, session_id, documents, settings))
        except (SessionUnreadable, ExtractionConflict, LedgerUnreadable) as error:
            plans.append(SessionPlan(session_id=session_id, error_code=error.code, error=str(error)))
    fault_points.reach("extracted")
    return Extraction(sessions=tuple(plans), adopted_documents=adopted)


async def _extract_one(target: Target, session_id: str, documents: ForeignDocuments, settings: Settings) -> SessionPlan:
    for _ in range(_ATTEMPTS):
        cached = await session_cache.read(target.user_id, session_id)
        held = await ledger.session_in(target, session_id)
        changes = planning.plan(
            target,
            cached,
            held,
            foreign=await _foreign(cached, held, documents),
            texts=await _texts(target, planning.edited_and_purged(cached, held)),
            settings=settings,
        )
        if changes:
            fault_points.reach("before-freeze")
            try:
                await ledger.freeze(target, session_id, changes)
            except ledger.Conflict:
                continue
            fault_points.reach("frozen")
            held = await ledger.session_in(target, session_id)
        return planning.session_plan(cached, held, settings=settings)
    raise ExtractionConflict(session_id=session_id)


async def _foreign(cached: CachedSession, held: HeldSession, documents: ForeignDocuments) -> set[str]:
    """Turns still to be planned or written that cognee's own path has stored meanwhile."""
    # What an earlier run left unfinished is always looked up; the rest only if cognee says it stored anything.
    turns = planning.unsettled_turns(cached, held) + (planning.unknown_turns(cached, held) if cached.watermark else [])
    if not turns:
        return set()
    counted = Counter(turn.hash for turn in held.turns.values() if turn.data_id is None)
    return await documents.stored(cached.session_id, turns, counted=counted)


async def _texts(target: Target, data_ids: list[UUID]) -> dict[UUID, str]:
    """The stored documents of windows whose frozen text is purged."""
    if not data_ids:
        return {}
    async with get_relational_engine().get_async_session() as session:
        rows = await session.execute(
            select(Data.id, Data.raw_data_location).where(Data.id.in_(data_ids), Data.dataset_id == target.dataset_id)
        )
        locations = {data_id: location for data_id, location in rows}
    return {data_id: await read_text(location) for data_id, location in locations.items()}
