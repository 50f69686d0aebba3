"""cognee's own work on what a killed run left: its recovery of stale runs, its own path for sessions."""

import asyncio
import signal

import cognee
import pytest

from session_memory import fault_points
from session_memory.models import Outcome
from tests.faults import processes
from tests.running import outcomes, persist, until
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.fault("cognee recovers stale runs during a replay")
@pytest.mark.parametrize("point", [pytest.param("in another process", marks=pytest.mark.long), "in the same process"])
async def test_no_node_of_a_replay_is_lost_to_cognees_own_recovery(world, llm, count, monkeypatch, point):
    from cognee.modules.cognify import recovery

    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    killed = await processes.run(world, *sessions, **{processes.KILL: "3"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    llm.gate = asyncio.Event()
    replay = asyncio.create_task(persist(world, *sessions))
    await until(lambda: llm.calls)
    if point == "in another process":
        recovering = await processes.beside("recover_stale_runs")
        assert recovering.returncode == 0, recovering.output[-2000:]
    else:
        monkeypatch.setattr(recovery, "STALE_RUN_MIN_AGE_SECONDS", 0)
        await recovery.recover_stale_pipeline_runs_on_startup()
    llm.gate.set()
    assert set(outcomes(await replay).values()) == {Outcome.PERSISTED}
    nodes = {node["id"] for node in await world.nodes()}
    # And when it comes after the replay.
    await processes.beside("recover_stale_runs")
    assert {node["id"] for node in await world.nodes()} == nodes
    await count(world)


@pytest.mark.fault("killed, then cognee's own path stores the same turns")
@pytest.mark.parametrize("cache", ["same", pytest.param("expired", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "point", ["frozen", *(pytest.param(p, marks=pytest.mark.long) for p in ("added", "cognified"))]
)
async def test_what_cognees_own_path_stored_after_a_kill_is_not_there_twice(world, llm, count, point, cache):
    session = new_session()
    await world.say(session)
    await world.say(session)
    killed = await processes.run(world, session, **{fault_points.VARIABLE: f"{point}=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    if cache == "expired":
        await world.expire(session)
    else:
        await world.say(session)
    assert outcomes(await persist(world, session))[session] in {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    await count(world)
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    await count(world)
