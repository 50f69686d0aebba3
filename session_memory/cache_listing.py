"""Which sessions cognee's cache holds, of whatever user. cognee has no call for it: each is read as it stores."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from cognee.infrastructure.databases.cache.config import get_cache_config
from cognee.infrastructure.databases.cache.fscache.FsCacheAdapter import FSCacheAdapter
from cognee.infrastructure.databases.cache.get_cache_engine import get_cache_engine
from cognee.infrastructure.databases.cache.redis.RedisAdapter import RedisAdapter
from cognee.infrastructure.databases.cache.sql.SqlCacheAdapter import SqlCacheAdapter
from cognee.infrastructure.databases.cache.sql.tables import cache_qa_entries
from sqlalchemy import func, or_, select, tuple_

from session_memory.errors import CacheNotListed, CacheUnreachable

#: Sessions a page.
PAGE = 500

#: What the caches with keys put before `user:session`, where the session id may contain colons itself.
_PREFIX = "agent_sessions:"


@dataclass(frozen=True, kw_only=True)
class ListedSession:
    """A session the cache holds."""

    #: As the cache keys it: the owner's id as text.
    user_id: str
    session_id: str
    #: When the first of its turns goes; None: never.
    expires_at: datetime | None


async def pages() -> AsyncIterator[list[ListedSession]]:
    """Every session in the cache that has turns, a page at a time, each once.

    Raises:
        CacheNotListed: the cache is of a kind that cannot be listed.
        CacheUnreachable: it did not answer.
    """
    backend = get_cache_config().cache_backend
    # By what is really used: cognee falls back to files where its default cannot be.
    adapter = get_cache_engine()
    if isinstance(adapter, SqlCacheAdapter):
        listed = _of_sql(adapter)
    elif isinstance(adapter, RedisAdapter):
        listed = _of_redis(adapter)
    elif isinstance(adapter, FSCacheAdapter):
        listed = _of_files(adapter)
    else:
        raise CacheNotListed(backend=backend)
    try:
        async for page in listed:
            yield page
    except Exception as error:  # noqa: BLE001 - each adapter raises its own driver's errors
        raise CacheUnreachable(backend=backend, kind=type(error.__cause__ or error).__name__) from None


async def _of_sql(adapter: SqlCacheAdapter) -> AsyncIterator[list[ListedSession]]:
    await adapter._ensure_initialized()
    columns = cache_qa_entries.c
    after: tuple[str, str] | None = None
    while True:
        query = (
            select(columns.user_id, columns.session_id, func.min(columns.expires_at))
            .where(or_(columns.expires_at.is_(None), columns.expires_at > datetime.now(UTC)))
            .group_by(columns.user_id, columns.session_id)
            .order_by(columns.user_id, columns.session_id)
            .limit(PAGE)
        )
        if after is not None:
            query = query.where(tuple_(columns.user_id, columns.session_id) > after)
        async with adapter.sessionmaker() as session:
            rows = (await session.execute(query)).all()
        if not rows:
            return
        yield [ListedSession(user_id=user, session_id=name, expires_at=_aware(at)) for user, name, at in rows]
        after = (rows[-1][0], rows[-1][1])


async def _of_redis(adapter: RedisAdapter) -> AsyncIterator[list[ListedSession]]:
    client, cursor, seen = adapter.async_redis, 0, set[str]()
    while True:
        cursor, found = await client.scan(cursor, match=f"{_PREFIX}*", count=PAGE)
        # A scan may name a key twice.
        keys = [key for key in dict.fromkeys(map(_text, found)) if _is_of_session(key) and key not in seen]
        seen.update(keys)
        async with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.pttl(key)
            left = await pipeline.execute()
        now = datetime.now(UTC)
        # -2: gone meanwhile; -1: without expiry.
        page = [
            _of_key(key, now + timedelta(milliseconds=ttl) if ttl >= 0 else None)
            for key, ttl in zip(keys, left, strict=True)
            if ttl != -2
        ]
        if page:
            yield page
        if cursor == 0:
            return


async def _of_files(adapter: FSCacheAdapter) -> AsyncIterator[list[ListedSession]]:
    # Synchronous and in this thread, as cognee reads it: its SQLite connection belongs to the thread.
    keys = iter(adapter.cache)
    while names := list(islice(keys, PAGE)):
        found = [(key, adapter.cache.get(key, expire_time=True)) for key in names if _is_of_session(key)]
        page = [_of_key(key, datetime.fromtimestamp(at, UTC) if at else None) for key, (value, at) in found if value]
        if page:
            yield page


def _is_of_session(key: str) -> bool:
    return key.startswith(_PREFIX) and ":" in key.removeprefix(_PREFIX)


def _of_key(key: str, expires_at: datetime | None) -> ListedSession:
    user_id, session_id = key.removeprefix(_PREFIX).split(":", 1)
    return ListedSession(user_id=user_id, session_id=session_id, expires_at=expires_at)


def _text(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key


def _aware(at: datetime | None) -> datetime | None:
    # SQLite forgets the zone; cognee writes UTC.
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at
