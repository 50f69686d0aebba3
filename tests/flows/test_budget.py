"""A run that may not spend more: what is left is pending, said, and taken up by the next run."""

import asyncio

import pytest

from session_memory.models import Outcome
from session_memory.settings import Settings
from tests.running import outcomes, persist
from tests.world import World, new_session


@pytest.fixture
def settings(monkeypatch):
    """Settings of one test's own."""

    def use(**values):
        changed = Settings(**values)
        monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: changed)

    return use


@pytest.mark.parametrize("budget", [{"windows_per_run": 2}, {"tokens_per_run": 30, "windows_per_group": 1}])
async def test_what_the_budget_leaves_is_pending_and_the_next_run_takes_it_up(world: World, llm, settings, budget):
    sessions = [new_session() for _ in range(4)]
    for session in sessions:
        await world.say(session)
    settings(**budget)
    report = await persist(world, *sessions)
    # A document takes two calls of 15 tokens.
    done = 2 if "windows_per_run" in budget else 1
    assert report.counts == {"pending": 4 - done, "persisted": done}
    assert len(llm.calls) == 2 * done
    assert f"{4 - done} pending" in report.summary()
    left = next(session for session in report.sessions if session.outcome is Outcome.PENDING)
    assert (left.error_code, left.turns_pending) == ("budget_spent", 1)
    assert "the next run takes it up" in left.error
    settings()
    again = await persist(world, *sessions)
    assert again.counts == {"persisted": 4 - done, "nothing_new": done}
    assert await world.all_stored_once()


async def test_a_failure_is_told_whatever_the_budget_left(world: World, llm, settings):
    refused, written, left = sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await world.say(session, *(["What is Poison?", "Poison."] if session == refused else []))
    llm.refuse("Poison")
    settings(windows_per_run=2)
    report = await persist(world, *sessions)
    assert outcomes(report) == {
        refused: Outcome.QUARANTINED,
        written: Outcome.PERSISTED,
        left: Outcome.PENDING,
    }
    assert [session.session_id for session in report.failed_sessions] == [refused]


async def test_llm_calls_in_flight_of_a_real_run_reach_the_limit_and_no_more(world: World, llm):
    """Of cognee's own calls, through its own seam; the process has the default of 20."""
    sessions = [new_session() for _ in range(14)]
    for session in sessions:
        await world.say(session)
    llm.gate = asyncio.Event()
    run = asyncio.create_task(persist(world, *sessions))
    async with asyncio.timeout(60):
        while len(llm.calls) < 20:
            await asyncio.sleep(0.05)
    # 28 are wanted, and none has returned.
    await asyncio.sleep(1)
    assert len(llm.calls) == 20
    llm.gate.set()
    assert (await run).counts == {"persisted": 14}
    assert len(llm.calls) == 28
