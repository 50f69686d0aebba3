"""kill -9 at every step of the write path: after the next run, every turn is there once (I1, I5, I6)."""

import signal

import pytest

from session_memory import fault_points
from session_memory.models import Outcome
from tests.faults import processes
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")

#: Steps that a run without an edit passes.
STEPS = [point for point in fault_points.POINTS if point not in {"before-remove", "removed"}]
#: LLM calls that a group of two documents of one chunk costs.
CALLS_A_GROUP = 4


@pytest.mark.parametrize("point", STEPS)
async def test_after_a_kill_the_next_run_has_every_turn_once(world, llm, tmp_path, point):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
        await world.say(session)
    log = tmp_path / "calls"
    killed = await processes.run(world, *sessions, **{fault_points.VARIABLE: f"{point}=kill", processes.LOG: str(log)})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    llm.calls.clear()
    report = await persist(world, *sessions)
    assert set(outcomes(report).values()) <= {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    assert await world.all_stored_once()
    assert processes.calls_in(log) + len(llm.calls) <= 2 * CALLS_A_GROUP
    llm.calls.clear()
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.NOTHING_NEW}
    assert llm.calls == []


@pytest.mark.parametrize("point", ["added", "before-remove", "removed"])
async def test_after_a_kill_while_an_edit_replaces_a_document_the_old_text_is_gone(world, llm, point):
    session = new_session()
    await world.say(session)
    edited = await world.say(session)
    old = world.said[edited]
    await persist(world, session)
    await world.edit(session, edited)
    killed = await processes.run(world, session, **{fault_points.VARIABLE: f"{point}=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    await persist(world, session)
    assert await world.all_stored_once()
    assert await world.times(old) == (0, 0)
    assert len(await world.documents()) == 1


async def test_what_was_frozen_is_stored_even_when_the_cache_expired_after_the_kill(world, llm):
    session = new_session()
    await world.say(session)
    killed = await processes.run(world, session, **{fault_points.VARIABLE: "added=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    await world.expire(session)
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    assert await world.all_stored_once()


async def test_a_killed_writers_run_is_rolled_back_and_closed(world, llm):
    """cognee itself recovers such runs only in its API server, an hour later."""
    from cognee.modules.pipelines.methods import get_unterminated_pipeline_runs

    async def unterminated() -> list[str]:
        runs = await get_unterminated_pipeline_runs()
        return [run.pipeline_name for run in runs if run.dataset_id == world.dataset.id]

    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    killed = await processes.run(world, *sessions, **{processes.KILL: "3"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    assert await unterminated() == ["cognify_pipeline"]
    await persist(world, *sessions)
    assert await unterminated() == []
    assert await world.all_stored_once()
