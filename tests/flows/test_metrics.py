"""What the gauges say after a run: what is pending, when it expires, what is quarantined."""

from typing import Any

import pytest

from session_memory import measuring
from session_memory.errors import SessionsNotPersisted, StoreUnavailable
from session_memory.pending_report import PendingReport
from tests import double
from tests.running import persist
from tests.telemetry import Told, telling
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


class Gauges:
    """The flow in this process, and what the gauges say of one world."""

    def __init__(self, told: Told, world: World) -> None:
        self._told = told
        self._world = world

    async def after(self, **parameters: Any) -> dict[str, float]:
        """Run the flow over the world's dataset; the gauges' values without the age."""
        from flows.persist_pending_sessions import persist_pending_sessions

        try:
            await persist_pending_sessions(**{"datasets": [str(self._world.dataset.id)]} | parameters)
        except SessionsNotPersisted as error:
            assert isinstance(error.report, PendingReport)
        return self.now()

    def now(self) -> dict[str, float]:
        of_world = ("session_memory.dataset.id", str(self._world.dataset.id))
        return {
            name.removeprefix("session_memory.turns."): value
            for name, of in self._told.metrics().items()
            for key, value in of.items()
            if of_world in key and not name.endswith("age")
        }


@pytest.fixture
async def own_world() -> World:
    return await World.own()


@pytest.fixture
def gauges(own_world: World):
    with telling() as told:
        yield Gauges(told, own_world)


async def test_what_is_frozen_no_longer_expires_and_what_is_persisted_is_pending_no_more(gauges, own_world, llm):
    for _ in range(2):
        await own_world.say(new_session())
    nothing = {"pending": 0, "quarantined": 0}
    left = await gauges.after(expiring_within_hours=0.001)
    assert left == {"pending": 2, "quarantined": 0, "expiry": pytest.approx(7 * 24 * 3600, abs=600)}
    llm.fail("Marker", double.broken)
    assert await gauges.after() == {"pending": 2, "quarantined": 0}
    llm.heal()
    assert await gauges.after() == nothing
    assert await gauges.after() == nothing


async def test_a_refused_turn_is_quarantined_and_not_pending_although_it_is_tried_again(gauges, own_world, llm):
    session = new_session()
    refused = own_world.said[await own_world.say(session)]
    llm.refuse(refused.split()[-1])
    assert await gauges.after() == {"pending": 0, "quarantined": 1}
    assert await gauges.after(idle_minutes=5) == {"pending": 0, "quarantined": 1}
    await own_world.say(session)
    left = await gauges.after(idle_minutes=5)
    assert (left["pending"], left["quarantined"]) == (1, 1)
    llm.heal()
    assert await gauges.after() == {"pending": 0, "quarantined": 0}


async def test_a_run_of_some_users_leaves_the_gauges_alone(gauges, own_world):
    await own_world.say(new_session())
    before = await gauges.after(idle_minutes=5)
    assert before["pending"] == 1
    after = await gauges.after(users=[own_world.user.email])
    assert after == {**before, "expiry": pytest.approx(before["expiry"], abs=60)}
    assert await own_world.all_stored_once()


async def test_a_run_of_named_sessions_counts_and_sets_no_gauge(gauges, own_world):
    session = new_session()
    await own_world.say(session)
    await persist(own_world, session)
    assert gauges.now() == {}
    assert await gauges.after() == {"pending": 0, "quarantined": 0}


async def test_a_gauge_that_cannot_be_set_at_the_end_fails_no_run(gauges, own_world, monkeypatch):
    from flows.persist_pending_sessions import persist_pending_sessions

    await own_world.say(new_session())
    measure, measured = measuring.measure, []

    async def measure_once(*arguments: Any) -> None:
        measured.append(arguments)
        if len(measured) > 1:
            raise StoreUnavailable(kind="OperationalError")
        await measure(*arguments)

    monkeypatch.setattr(measuring, "measure", measure_once)
    report = await persist_pending_sessions(datasets=[str(own_world.dataset.id)])
    assert (report.turns_persisted, len(measured)) == (1, 4)
    assert gauges.now()["pending"] == 1
