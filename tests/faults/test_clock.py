"""A clock that is set back an hour."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from session_memory.models import Outcome
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.fault("clock set back an hour")
@pytest.mark.long
async def test_a_clock_set_back_an_hour_loses_and_doubles_nothing(world, llm, count):
    session, other = new_session(), new_session()
    await world.say(session)
    edited = await world.say(session)
    old = world.said[edited]
    await persist(world, session)
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=1), tick=True):
        await world.say(session)
        await world.say(other)
        await world.edit(session, edited)
        report = await persist(world, session, other)
        assert set(outcomes(report).values()) == {Outcome.PERSISTED}
        assert set(outcomes(await persist(world, session, other)).values()) == {Outcome.NOTHING_NEW}
    assert set(outcomes(await persist(world, session, other)).values()) == {Outcome.NOTHING_NEW}
    await count(world)
    assert await world.times(old) == (0, 0)
