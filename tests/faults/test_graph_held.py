"""An application that has the embedded graph open."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests.faults import processes
from tests.running import outcomes, persist, until
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@asynccontextmanager
async def application(world, tmp_path):
    """Another process with the graph open; gives its process id, and what ends it."""
    held, release = tmp_path / "held", tmp_path / "release"
    holding = asyncio.create_task(processes.beside("hold_graph", str(world.dataset.id), str(held), str(release)))
    try:
        await until(lambda: held.exists() and held.read_text())
        yield held.read_text(), release.touch
    finally:
        release.touch()
        assert (await holding).returncode == 0


@pytest.mark.fault("an application holds the graph for a while")
async def test_a_graph_that_is_held_is_waited_for(world, llm, count, tmp_path):
    session = new_session()
    await world.say(session)
    async with application(world, tmp_path) as (_, release):
        run = asyncio.create_task(persist(world, session))
        await asyncio.sleep(3)
        assert not run.done()
        assert llm.calls == []
        release()
        assert outcomes(await run) == {session: Outcome.PERSISTED}
    await count(world)


@pytest.mark.long
@pytest.mark.fault("an application holds the graph for good")
async def test_a_graph_that_stays_held_is_an_error_that_names_the_holder_and_what_helps(
    world, llm, count, tmp_path, monkeypatch
):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    settings = get_settings().model_copy(update={"lock_wait_seconds": 1.0})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    async with application(world, tmp_path) as (pid, _):
        report = await persist(world, *sessions)
        assert {session.error_code for session in report.sessions} == {"graph_held"}
        for telling in (f"process {pid} (", "SUBPROCESS_IDLE_TTL_SECONDS=0", "SESSION_MEMORY_LOCK_WAIT_SECONDS"):
            assert telling in (report.sessions[0].error or "")
        assert llm.calls == []
        assert report.seconds < 15
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)
