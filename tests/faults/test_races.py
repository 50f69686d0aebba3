"""Two runs at once: serialised on one dataset, in parallel on two, every turn once."""

import asyncio
import os
import subprocess
import sys

import pytest

from session_memory import errors
from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests.faults import processes
from tests.running import outcomes, persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_two_runs_in_one_process_on_one_dataset_store_every_turn_once_with_each_call_made_once(world, llm):
    session = new_session()
    await world.say(session)
    llm.latency = 0.5
    reports = await asyncio.gather(persist(world, session), persist(world, session))
    assert {outcomes(report)[session] for report in reports} <= {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    assert len(llm.calls) == 2
    assert await world.all_stored_once()


async def test_two_processes_on_one_dataset_store_every_turn_once_with_each_call_made_once(world, llm, tmp_path):
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await world.say(session)
    log = tmp_path / "calls"
    extra = {processes.LOG: str(log), processes.LATENCY: "0.5"}
    ended = await asyncio.gather(*(processes.run(world, *sessions, **extra) for _ in range(2)))
    assert [one.returncode for one in ended] == [0, 0], ended[0].output[-1500:] + ended[1].output[-1500:]
    assert processes.calls_in(log) == 6
    assert await world.all_stored_once()


async def test_two_runs_on_different_datasets_go_on_in_parallel(world, llm):
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
    assert await world.all_stored_once()
    assert await other.all_stored_once()


async def test_a_dataset_held_by_another_process_is_waited_for_and_then_its_holder_is_named(world, llm, monkeypatch):
    from session_memory import dataset_lock
    from session_memory.access import authorise

    session = new_session()
    await world.say(session)
    target = await authorise(None, str(world.dataset.id), get_settings())
    path = dataset_lock.lock_path(str(target.dataset_id))
    path.parent.mkdir(parents=True, exist_ok=True)
    program = f"""
import json, os, sys, time
from filelock import FileLock
with FileLock({str(path)!r}):
    open({str(path.with_suffix(".holder"))!r}, "w").write(json.dumps(
        {{"holder": "flow run busy-bee", "pid": os.getpid(), "host": "here"}}))
    print("held", flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        settings = get_settings().model_copy(update={"lock_wait_seconds": 0.5})
        monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
        report = await persist(world, session)
        assert outcomes(report) == {session: Outcome.FAILED}
        assert report.sessions[0].error_code == errors.DatasetBusy.code
        assert f"flow run busy-bee, process {holder.pid} on here" in (report.sessions[0].error or "")
        assert llm.calls == []
    finally:
        holder.kill()
        holder.wait()
    # The kernel freed it with its holder.
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    assert os.path.exists(path)


async def test_a_turn_edited_while_its_first_version_waits_to_be_written_is_stored_in_its_new_version(world, llm):
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
    assert await world.all_stored_once()
    assert await world.times(old) == (0, 0)
