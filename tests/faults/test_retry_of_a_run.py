"""A killed run of a deployment, resumed with `prefect flow-run retry`."""

import shutil
import signal

import pytest
from prefect.states import Crashed

from session_memory import fault_points
from tests.faults import processes, runs
from tests.world import new_session

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.long]

ONE_A_GROUP = {"SESSION_MEMORY_WINDOWS_PER_GROUP": "1"}


@pytest.mark.fault("killed run retried")
@pytest.mark.parametrize("point", ["results kept", "results wiped"])
async def test_a_killed_run_that_is_retried_does_the_rest_and_shows_what_it_remembers(world, count, tmp_path, point):
    sessions = [new_session() for _ in range(4)]
    for session in sessions:
        await world.say(session)
    results = tmp_path / "results"
    settings = {**ONE_A_GROUP, "PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(results)}
    async with runs.scheduled(world, *sessions) as (client, run):
        killed = await runs.execute(run, **settings, **{fault_points.VARIABLE: "locked:3=kill"})
        assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
        # As a worker does with a run whose process is gone.
        await client.set_flow_run_state(run.id, Crashed(), force=True)
        retried = await processes.program("-m", "prefect", "flow-run", "retry", str(run.id))
        assert retried.returncode == 0, retried.output
        assert list(results.iterdir())
        if point == "results wiped":
            shutil.rmtree(results)
        log = tmp_path / "calls"
        resumed = await runs.execute(run, **settings, **{processes.LOG: str(log)})
        assert resumed.returncode == 0, resumed.output[-3000:]
        assert (await runs.state_of(client, run)).is_completed()
        remembered = ["Cached", "Cached", "Completed", "Completed"]
        # Without its results, extraction finds two windows pending; the finished ones need no task.
        assert (await runs.task_states(client, run, "cognify "))[-2:] == remembered[-2:]
        if point == "results kept":
            assert await runs.task_states(client, run, "cognify ") == remembered
    assert processes.calls_in(log) == 4
    await count(world)
