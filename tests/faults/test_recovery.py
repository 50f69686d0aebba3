"""cognee's own recovery of stale runs, while a killed run is replayed."""

import asyncio
import signal

import pytest

from session_memory.models import Outcome
from tests.faults import processes, runs
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.fault("cognee recovers stale runs during a replay")
@pytest.mark.parametrize("point", ["in another process", "in the same process"])
async def test_no_node_of_a_replay_is_lost_to_cognees_own_recovery(world, llm, count, monkeypatch, point):
    from cognee.modules.cognify import recovery

    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    killed = await processes.run(world, *sessions, **{processes.KILL: "3"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    llm.gate = asyncio.Event()
    replay = asyncio.create_task(persist(world, *sessions))
    await runs.until(lambda: llm.calls)
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
