"""Two runs at once: serialised on one dataset, in parallel on two, every turn once."""

import asyncio
import os
import re
import signal

import pytest

from session_memory import errors
from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests.faults import processes, runs
from tests.running import outcomes, persist, until
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.fault("two runs on one dataset in one process")
async def test_two_runs_in_one_process_on_one_dataset_store_every_turn_once_with_each_call_made_once(world, llm, count):
    session = new_session()
    await world.say(session)
    llm.latency = 0.5
    reports = await asyncio.gather(persist(world, session), persist(world, session))
    assert {outcomes(report)[session] for report in reports} <= {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    assert len(llm.calls) == 2
    await count(world)


@pytest.mark.long
@pytest.mark.fault("two runs on one dataset in two processes")
async def test_two_processes_on_one_dataset_store_every_turn_once_with_each_call_made_once(world, llm, count, tmp_path):
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await world.say(session)
    log = tmp_path / "calls"
    extra = {processes.LOG: str(log), processes.LATENCY: "0.5"}
    ended = await asyncio.gather(*(processes.run(world, *sessions, **extra) for _ in range(2)))
    assert [one.returncode for one in ended] == [0, 0], ended[0].output[-1500:] + ended[1].output[-1500:]
    assert processes.calls_in(log) == 6
    await count(world)


@pytest.mark.fault("two runs on different datasets")
async def test_two_runs_on_different_datasets_go_on_in_parallel(world, llm, count):
    other = await World.new(world.user)
    mine, theirs = new_session(), new_session()
    await world.say(mine)
    await other.say(theirs)
    llm.gate = asyncio.Event()
    runs = [asyncio.create_task(persist(world, mine)), asyncio.create_task(persist(other, theirs))]
    async with asyncio.timeout(30):
        # Both have calls in flight at once: two documents, two calls each.
        while len(llm.calls) < 4:
            await asyncio.sleep(0.05)
    llm.gate.set()
    for report in await asyncio.gather(*runs):
        assert set(outcomes(report).values()) == {Outcome.PERSISTED}
    await count(world, other)


@pytest.mark.fault("dataset held by another process")
async def test_a_dataset_held_by_another_process_is_waited_for_and_then_its_holder_is_named(
    world, llm, count, monkeypatch, tmp_path
):
    session = new_session()
    await world.say(session)
    held = tmp_path / "held"
    holding = asyncio.create_task(processes.beside("hold_dataset", str(world.dataset.id), str(held)))
    await until(lambda: held.exists() and held.read_text())
    holder = int(held.read_text())
    try:
        settings = get_settings().model_copy(update={"lock_wait_seconds": 0.5})
        monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
        report = await persist(world, session)
        assert outcomes(report) == {session: Outcome.FAILED}
        assert report.sessions[0].error_code == errors.DatasetBusy.code
        assert re.search(rf"flow run busy-bee.*\b{holder} on ", report.sessions[0].error or "")
        assert llm.calls == []
    finally:
        os.kill(holder, signal.SIGKILL)
        assert (await holding).returncode == -signal.SIGKILL
    # The kernel, or Postgres, freed it with its holder.
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("a turn edited while a run waits")
@pytest.mark.long
async def test_a_turn_edited_while_its_first_version_waits_to_be_written_is_stored_in_its_new_version(
    world, llm, count
):
    from session_memory import dataset_lock
    from session_memory.access import authorise

    session = new_session()
    edited = await world.say(session)
    old = world.said[edited]
    target = await authorise(None, str(world.dataset.id), get_settings())
    async with dataset_lock.hold(target, holder="the test", wait_seconds=0):
        run = asyncio.create_task(persist(world, session))
        await asyncio.sleep(1.5)
        await world.edit(session, edited)
        other = asyncio.create_task(persist(world, session))
        await asyncio.sleep(1.5)
    await asyncio.gather(run, other)
    await persist(world, session)
    await count(world)
    assert await world.times(old) == (0, 0)


@pytest.mark.long
@pytest.mark.fault("the nightly run over a manual one")
async def test_a_nightly_run_that_meets_a_manual_one_stores_every_turn_once(world, llm, count, tmp_path):
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await world.say(session)
    llm.gate = asyncio.Event()
    manual = asyncio.create_task(persist(world, *sessions[:2]))
    await until(lambda: llm.calls)
    log = tmp_path / "calls"
    nightly = asyncio.create_task(processes.run(world, *sessions, **{processes.LOG: str(log)}))
    await asyncio.sleep(2)
    await world.say(sessions[0])
    assert not nightly.done()
    llm.gate.set()
    assert set(outcomes(await manual).values()) == {Outcome.PERSISTED}
    assert (await nightly).returncode == 0
    assert set(outcomes(await persist(world, *sessions)).values()) <= {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    # Four turns in four documents, whoever wrote them, or three when the nightly run met the new turn.
    assert len(llm.calls) + processes.calls_in(log) == 2 * len(await world.documents())
    await count(world)


@pytest.mark.long
@pytest.mark.fault("the same API trigger twice")
async def test_the_same_trigger_twice_is_one_run_and_without_a_key_stores_every_turn_once(world, llm, count):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    async with runs.scheduled(world, *sessions, key="chat-ended") as (_, first):
        async with runs.scheduled(world, *sessions, key="chat-ended") as (_, again):
            assert again.id == first.id
        async with runs.scheduled(world, *sessions) as (client, other):
            ended = await asyncio.gather(*(runs.execute(run) for run in (first, other)))
            assert [one.returncode for one in ended] == [0, 0], ended[0].output[-1500:] + ended[1].output[-1500:]
            for run in (first, other):
                assert (await runs.state_of(client, run)).is_completed()
    assert len(await world.documents()) == 2
    await count(world)
