"""Reads sessions and freezes what is pending of them in the ledger, before anything is written to the graph."""

import asyncio
from collections import Counter
from functools import partial
from uuid import UUID

from session_memory import adoption, fault_points, ledger, planning, redaction, session_cache
from session_memory.document import CachedSession, CachedTurn, Turn
from session_memory.errors import (
    ExtractionConflict,
    LedgerUnreadable,
    RedactionFailed,
    SessionMemoryError,
    SessionUnreadable,
)
from session_memory.failures import told_in_our_words
from session_memory.foreign import ForeignDocuments, locations_of, read_text
from session_memory.holdings import Changes, HeldSession
from session_memory.models import Extraction, SessionPlan, Target
from session_memory.redaction import Redact
from session_memory.settings import Settings

#: Other runs would have to change a session's plan so often, each time in between.
_ATTEMPTS = 10

#: Sessions read, planned and frozen together.
_PAGE = 200


async def extract(target: Target, session_ids: list[str], settings: Settings) -> Extraction:
    """Freeze everything pending of the sessions, and say what that is.

    A session that cannot be read, in the cache or the ledger, or not masked, is a `SessionPlan` with an error; the
    others are not affected.

    Raises:
        RedactionNotFound, RedactionExtraMissing: nothing can be masked, so nothing is frozen.
        CachingDisabled, CacheUnreachable: no session can be read.
        DatasetGone: the dataset was deleted.
    """
    redact = redaction.load(settings.redact)
    session_cache.require_caching()
    with told_in_our_words():
        adopted = await adoption.adopt(target)
    documents = ForeignDocuments(target)
    plans: list[SessionPlan] = []
    wanted = list(dict.fromkeys(session_ids))
    for start in range(0, len(wanted), _PAGE):
        with told_in_our_words():
            page = wanted[start : start + _PAGE]
            found = await _plans(target, page, documents, redact, settings)
        plans += [_as_plan(session_id, found[session_id]) for session_id in page]
    fault_points.reach("extracted")
    return Extraction(sessions=tuple(plans), adopted_documents=adopted)


async def _plans(
    target: Target, session_ids: list[str], documents: ForeignDocuments, redact: Redact | None, settings: Settings
) -> dict[str, SessionPlan | SessionMemoryError]:
    """The frozen plan of each session, or why there is none."""
    for _ in range(_ATTEMPTS):
        cached, held, failed = await _read(target, session_ids)
        changes = {}
        for session_id, session in cached.items():
            try:
                changed = await changes_of(target, session, held[session_id], documents, redact, settings)
            except RedactionFailed as error:
                failed[session_id] = error
                continue
            if changed:
                changes[session_id] = changed
        if changes:
            fault_points.reach("before-freeze")
            try:
                await ledger.freeze(target, changes)
            except ledger.Conflict:
                if len(session_ids) == 1:
                    continue
                # One of them; the others are not to be read again and again for it.
                one_by_one = [await _plans(target, [one], documents, redact, settings) for one in session_ids]
                return {session_id: plan for found in one_by_one for session_id, plan in found.items()}
            fault_points.reach("frozen")
            held |= await _held(target, list(changes), failed)
        plans = {
            session_id: planning.session_plan(
                session,
                held[session_id],
                settings=settings,
                masked=changes[session_id].masked if session_id in changes else None,
            )
            for session_id, session in cached.items()
            if session_id not in failed
        }
        return plans | failed
    return {session_id: ExtractionConflict(session_id=session_id) for session_id in session_ids}


async def changes_of(
    target: Target,
    session: CachedSession,
    held: HeldSession,
    documents: ForeignDocuments,
    redact: Redact | None,
    settings: Settings,
) -> Changes:
    """What extraction would freeze of a session; reads, and writes nothing."""
    plan = partial(
        planning.plan,
        target,
        session,
        held,
        foreign=await _foreign(session, held, documents),
        texts=await _texts(target, planning.edited_and_purged(session, held)),
        redact=redact,
        settings=settings,
    )
    # A hook may take its time: the built-in one compiles its rules when it is first asked.
    return await asyncio.to_thread(plan) if redact else plan()


async def _read(
    target: Target, session_ids: list[str]
) -> tuple[dict[str, CachedSession], dict[str, HeldSession], dict[str, SessionMemoryError]]:
    """What the cache and what the ledger hold of sessions, and why some cannot be read."""
    failed: dict[str, SessionMemoryError] = {}
    cached = {}
    for session_id, session in (await session_cache.read_all(target.user_id, session_ids)).items():
        if isinstance(session, SessionUnreadable):
            failed[session_id] = session
        else:
            cached[session_id] = session
    held = await _held(target, list(cached), failed)
    return {session_id: cached[session_id] for session_id in held}, held, failed


async def _held(
    target: Target, session_ids: list[str], failed: dict[str, SessionMemoryError]
) -> dict[str, HeldSession]:
    held = {}
    for session_id, session in (await ledger.sessions_in(target, session_ids)).items():
        if isinstance(session, LedgerUnreadable):
            failed[session_id] = session
        else:
            held[session_id] = session
    return held


def _as_plan(session_id: str, found: SessionPlan | SessionMemoryError) -> SessionPlan:
    if isinstance(found, SessionPlan):
        return found
    return SessionPlan(session_id=session_id, error_code=found.code, error=str(found))


async def _foreign(cached: CachedSession, held: HeldSession, documents: ForeignDocuments) -> set[str]:
    """Turns still to be planned or written that cognee's own path has stored meanwhile."""
    # What an earlier run left unfinished is always looked up; the rest only if cognee says it stored anything.
    turns: list[CachedTurn | Turn] = [*planning.unsettled_turns(cached, held)]
    turns += planning.unknown_turns(cached, held) if cached.watermark else []
    if not turns:
        return set()
    counted = Counter(turn.hash for turn in held.turns.values() if turn.data_id is None)
    return await documents.stored(cached.session_id, turns, counted=counted)


async def _texts(target: Target, data_ids: list[UUID]) -> dict[UUID, str]:
    """The stored documents of windows whose frozen text is purged."""
    if not data_ids:
        return {}
    locations = await locations_of(target, data_ids)
    return {data_id: await read_text(location) for data_id, location in locations.items()}
