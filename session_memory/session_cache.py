"""Reads sessions from cognee's cache, and tells cognee's own path how far a session is stored."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from cognee.infrastructure.databases.cache.config import get_cache_config
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.session.get_session_manager import get_session_manager
from cognee.infrastructure.session.session_node_set import node_set_from_rows, read_session_context_strict
from cognee.infrastructure.session.session_persist_watermark import SESSION_PERSIST_WATERMARK
from cognee.modules.session_lifecycle.models import SessionRecord
from pydantic import ValidationError
from sqlalchemy import select

from session_memory.document import CachedSession, CachedTurn
from session_memory.errors import CacheUnreachable, CachingDisabled, SessionUnreadable

_MALFORMED = (ValidationError, TypeError, KeyError, AttributeError, ValueError)

#: Sessions read at once.
_IN_FLIGHT = 8


def require_caching() -> None:
    """Raises CachingDisabled when cognee keeps no sessions."""
    if not get_session_manager().is_available or not get_cache_config().caching:
        raise CachingDisabled()


async def read_all(owner_id: UUID, session_ids: Sequence[str]) -> dict[str, CachedSession | SessionUnreadable]:
    """Read sessions of `owner_id`, some at a time; or why one cannot be read.

    Raises:
        CacheUnreachable: the cache did not answer.
    """
    in_flight = asyncio.Semaphore(_IN_FLIGHT)

    async def one(session_id: str) -> CachedSession | SessionUnreadable:
        async with in_flight:
            try:
                return await read(owner_id, session_id)
            except SessionUnreadable as error:
                return error

    return dict(zip(session_ids, await asyncio.gather(*map(one, session_ids)), strict=True))


async def read(owner_id: UUID, session_id: str) -> CachedSession:
    """Read one session of `owner_id`.

    Raises:
        SessionUnreadable: a row is not what cognee writes.
        CacheUnreachable: the cache did not answer.
    """
    manager = get_session_manager()
    try:
        entries = await manager.get_session(user_id=str(owner_id), session_id=session_id, formatted=False)
        # After the turns, so that a pin written ahead of any of them is seen.
        rows = await read_session_context_strict(manager, str(owner_id), session_id)
    except Exception as error:  # noqa: BLE001 - each adapter raises its own driver's errors
        raise _read_error(error, session_id) from None
    turns = [
        CachedTurn.of(qa_id=entry.qa_id, question=entry.question, answer=entry.answer, time=entry.time)
        for entry in entries
    ]
    return CachedSession(
        session_id=session_id,
        turns=tuple({turn.qa_id: turn for turn in turns}.values()),
        node_set=node_set_from_rows(rows),
        watermark=SESSION_PERSIST_WATERMARK.count_from_rows(rows),
    )


def _read_error(error: Exception, session_id: str) -> SessionUnreadable | CacheUnreachable:
    cause = error.__cause__ or error
    if isinstance(cause, _MALFORMED) and not isinstance(cause, UnicodeError):
        return SessionUnreadable(session_id=session_id, kind=type(cause).__name__)
    return CacheUnreachable(backend=get_cache_config().cache_backend, kind=type(cause).__name__)


async def advance_watermark(owner_id: UUID, session: CachedSession, settled: int) -> None:
    """Tell cognee's own path that the session's first `settled` turns are stored; never takes anything back."""
    if settled > session.watermark:
        await SESSION_PERSIST_WATERMARK.write_count(get_session_manager(), str(owner_id), session.session_id, settled)


async def datasets_of(owner_id: UUID, session_ids: list[str]) -> dict[str, UUID]:
    """The dataset each session belongs to, where cognee recorded one."""
    found: dict[str, UUID] = {}
    async with get_relational_engine().get_async_session() as session:
        for start in range(0, len(session_ids), 500):
            rows = await session.execute(
                select(SessionRecord.session_id, SessionRecord.dataset_id).where(
                    SessionRecord.user_id == owner_id,
                    SessionRecord.session_id.in_(session_ids[start : start + 500]),
                    SessionRecord.dataset_id.is_not(None),
                )
            )
            found.update({session_id: dataset_id for session_id, dataset_id in rows})
    return found
