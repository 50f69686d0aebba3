"""How many connections to Postgres a run takes: what `docs/grow.md` calculates with. Run by `make test-backends`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from cognee.infrastructure.databases.relational import get_relational_engine
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.running import outcomes, persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


@asynccontextmanager
async def connections_counted() -> AsyncIterator[list[int]]:
    """The connections of clients to the server, our own left out, every 50 ms."""
    engine = create_async_engine(get_relational_engine().engine.url, poolclass=NullPool)
    counts: list[int] = []

    async def count() -> None:
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        async with engine.connect() as connection:
            while True:
                counts.append((await connection.execute(query)).scalar_one())
                await connection.rollback()
                await asyncio.sleep(0.05)

    counting = asyncio.create_task(count())
    try:
        yield counts
    finally:
        counting.cancel()
        await asyncio.wait([counting])
        await engine.dispose()


async def said(world: World, sessions: int) -> list[str]:
    names = [new_session() for _ in range(sessions)]
    for name in names:
        await world.say(name)
    return names


async def test_a_group_of_forty_and_four_datasets_at_once_stay_within_what_is_documented():
    """Forty documents that each kept a connection while asking for another one would wait for each other for ever."""
    world = await World.own()
    sessions = await said(world, 40)
    async with connections_counted() as one:
        assert set(outcomes(await persist(world, *sessions)).values()) == {"persisted"}
    worlds = [await World.own() for _ in range(4)]
    for each in worlds:
        await said(each, 5)
    from flows.persist_pending_sessions import persist_pending_sessions

    async with connections_counted() as four:
        report = await persist_pending_sessions(users=[each.user.email for each in worlds])
    assert report.turns_persisted == 20
    print(f"connections to Postgres, at most: {max(one)} for one dataset, {max(four)} for four at once")
    assert max(one) <= 60
    assert max(four) <= 90
