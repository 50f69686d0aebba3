"""Timeouts and cancellation in the middle of a group: nobody else is harmed, and the next run finishes."""

import asyncio

import pytest

from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests.running import outcomes, persist, until
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.fault("a task times out in mid-commit")
async def test_a_task_that_times_out_rejoins_its_commit_and_no_call_is_made_twice(world, llm, count, monkeypatch):
    from tasks.cognify_session import cognify_session

    impatient = cognify_session.with_options(timeout_seconds=0.5, retries=20, retry_delay_seconds=0.2)
    monkeypatch.setattr("flows.persist_sessions.cognify_session", impatient)
    slow, quick = new_session(), new_session()
    await world.say(slow)
    await world.say(quick)
    llm.latency = 3
    report = await persist(world, slow, quick)
    assert outcomes(report) == {slow: Outcome.PERSISTED, quick: Outcome.PERSISTED}
    assert len(llm.calls) == 4
    await count(world)


@pytest.mark.fault("the flow is cancelled in mid-call")
async def test_a_cancelled_flow_cancels_its_commit_frees_the_dataset_and_the_next_run_finishes(world, llm, count):
    from flows.persist_sessions import persist_sessions
    from session_memory import dataset_lock
    from session_memory.access import authorise

    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    llm.gate = asyncio.Event()
    run = asyncio.create_task(persist_sessions(session_ids=sessions, dataset=str(world.dataset.id)))
    await until(lambda: llm.calls)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    target = await authorise(None, str(world.dataset.id), get_settings())
    async with dataset_lock.hold(target, holder="the test", wait_seconds=0):
        assert await world.nodes() == []
    llm.gate = None
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("another dataset's run is cancelled")
async def test_a_run_that_is_cancelled_does_not_harm_one_on_another_dataset(world, llm, count):
    from flows.persist_sessions import persist_sessions
    from tests.world import World

    other = await World.new(world.user)
    mine, theirs = new_session(), new_session()
    await world.say(mine)
    await other.say(theirs)
    llm.gate = asyncio.Event()
    cancelled = asyncio.create_task(persist_sessions(session_ids=[mine], dataset=str(world.dataset.id)))
    finishing = asyncio.create_task(persist(other, theirs))
    await until(lambda: len(llm.calls) >= 4)
    cancelled.cancel()
    llm.gate.set()
    assert outcomes(await finishing) == {theirs: Outcome.PERSISTED}
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await count(other)
