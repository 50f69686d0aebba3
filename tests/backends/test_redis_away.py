"""A Redis server with the sessions in it goes away and comes back: nothing is lost, and the report says what it was."""

from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from cognee.infrastructure.databases.cache.redis.RedisAdapter import RedisAdapter
from cognee.infrastructure.session.session_manager import SessionManager

import tests.world as world_module
from session_memory import session_cache
from session_memory.errors import CacheUnreachable
from session_memory.models import Outcome
from tests import servers
from tests.running import outcomes, persist
from tests.world import World

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


class Redis:
    """A server that can be stopped, and started again with what it held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running = ExitStack()
        self.port = servers.free_port()

    def start(self) -> None:
        self._running.enter_context(servers.redis(self._folder, port=self.port))

    def stop(self) -> None:
        self._running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Redis]:
    """The session cache of these tests."""
    server = Redis(tmp_path)
    server.start()
    adapter = RedisAdapter(host="127.0.0.1", port=server.port, session_ttl_seconds=7 * 24 * 3600)
    for module in (session_cache, world_module):
        monkeypatch.setattr(module, "get_session_manager", lambda: SessionManager(cache_engine=adapter))
    yield server
    await adapter.close()
    server.stop()


async def said(world: World) -> list[str]:
    """Sessions with colons in their ids, two turns each."""
    sessions = [f"chat:{number}::☕" for number in range(3)]
    for session in sessions:
        await world.say(session)
        await world.say(session)
    return sessions


async def test_a_server_that_comes_back_in_mid_extraction_costs_a_retry(world: World, redis: Redis, monkeypatch):
    sessions = await said(world)
    read, reads = session_cache.read, 0

    async def read_with_a_break(*arguments):
        nonlocal reads
        reads += 1
        if reads == 2:
            redis.stop()
        if reads == 4:
            redis.start()
        return await read(*arguments)

    monkeypatch.setattr(session_cache, "read", read_with_a_break)
    report = await persist(world, *sessions)
    assert outcomes(report) == dict.fromkeys(sessions, Outcome.PERSISTED)
    assert reads > 4
    assert await world.all_stored_once()


async def test_a_server_that_stays_away_fails_the_run_and_the_next_one_has_everything(world: World, redis: Redis):
    sessions = await said(world)
    redis.stop()
    with pytest.raises(CacheUnreachable):
        await persist(world, *sessions)
    assert await world.chunk_texts() == []
    redis.start()
    assert outcomes(await persist(world, *sessions)) == dict.fromkeys(sessions, Outcome.PERSISTED)
    assert await world.all_stored_once()
