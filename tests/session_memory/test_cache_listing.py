"""Every session of every user is found in each of cognee's caches, each of them real."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from session_memory import cache_listing
from session_memory.errors import CacheNotListed, CacheUnreachable
from tests import servers

TTL = 7 * 24 * 3600
pytestmark = pytest.mark.usefixtures("llm")


@pytest_asyncio.fixture(params=["sqlite", "postgres", "redis", "fs"], loop_scope="session")
async def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> AsyncIterator[Any]:
    """A cache of cognee's own, empty, and the one that is used."""
    from cognee.infrastructure.databases.cache.fscache import FsCacheAdapter
    from cognee.infrastructure.databases.cache.redis.RedisAdapter import RedisAdapter
    from cognee.infrastructure.databases.cache.sql.SqlCacheAdapter import SqlCacheAdapter

    adapter: Any
    monkeypatch.setattr(cache_listing, "get_cache_engine", lambda: adapter)
    if request.param == "redis":
        with servers.redis(tmp_path) as port:
            adapter = RedisAdapter(host="127.0.0.1", port=port, session_ttl_seconds=TTL)
            yield adapter
            await adapter.close()
    elif request.param == "postgres":
        with servers.postgres(tmp_path) as url:
            adapter = SqlCacheAdapter(url, session_ttl_seconds=TTL)
            yield adapter
            await adapter.close()
    elif request.param == "fs":
        storage = {"data_root_directory": str(tmp_path)}
        monkeypatch.setattr(FsCacheAdapter, "get_storage_config", lambda: storage)
        adapter = FsCacheAdapter.FSCacheAdapter(session_ttl_seconds=TTL)
        yield adapter
        adapter.cache.close()
    else:
        adapter = SqlCacheAdapter(f"sqlite+aiosqlite:///{tmp_path}/cache.db", session_ttl_seconds=TTL)
        yield adapter
        await adapter.close()


async def _say(cache: Any, user_id: str, session_id: str) -> None:
    await cache.create_qa_entry(user_id, session_id, "What?", "", "That.", qa_id=str(uuid.uuid4()))


async def test_every_session_of_every_user_is_listed_once_with_its_expiry(cache, monkeypatch):
    monkeypatch.setattr(cache_listing, "PAGE", 3)
    said = {(str(uuid.uuid4()), f"chat: {number}:☕") for number in range(4)}
    said |= {(user, "the same id") for user, _ in said}
    for user_id, session_id in said:
        await _say(cache, user_id, session_id)
        await _say(cache, user_id, session_id)
    # What else cognee keeps there is no session.
    await cache.set_value("agent_sessions", "1")
    await cache.append_agent_trace_step("u", "only traces", "t", "f", "ok")

    pages = [page async for page in cache_listing.pages()]
    listed = [one for page in pages for one in page]
    assert len(pages) > 1
    assert sorted((one.user_id, one.session_id) for one in listed) == sorted(said)
    in_a_week = datetime.now(UTC) + timedelta(seconds=TTL)
    for one in listed:
        assert one.expires_at is not None
        assert abs(one.expires_at - in_a_week) < timedelta(minutes=1)


async def test_without_expiry_a_session_never_expires_and_an_expired_one_is_not_listed(cache):
    cache.session_ttl_seconds = 1
    await _say(cache, "u", "short")
    cache.session_ttl_seconds = None
    await _say(cache, "u", "for ever")
    short = await _listed()
    assert short["for ever"] is None
    while "short" in await _listed():
        assert datetime.now(UTC) < short["short"] + timedelta(seconds=5)
    assert list(await _listed()) == ["for ever"]


async def _listed() -> dict[str, Any]:
    return {one.session_id: one.expires_at async for page in cache_listing.pages() for one in page}


async def test_a_cache_that_does_not_answer_is_named(monkeypatch, tmp_path):
    from cognee.infrastructure.databases.cache.sql.SqlCacheAdapter import SqlCacheAdapter

    adapter = SqlCacheAdapter(f"sqlite+aiosqlite:///{tmp_path}/no/folder/cache.db")
    monkeypatch.setattr(cache_listing, "get_cache_engine", lambda: adapter)
    with pytest.raises(CacheUnreachable):
        await anext(cache_listing.pages())
    await adapter.close()


async def test_a_cache_that_cannot_be_listed_says_what_to_do(monkeypatch):
    monkeypatch.setattr(cache_listing, "get_cache_engine", lambda: None)
    monkeypatch.setattr(cache_listing, "get_cache_config", lambda: SimpleNamespace(cache_backend="tapes"))
    with pytest.raises(CacheNotListed, match=r"cache tapes cannot be asked.*Name the sessions"):
        await anext(cache_listing.pages())
