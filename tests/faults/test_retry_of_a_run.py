"""A killed run of a deployment, resumed with `prefect flow-run retry`."""

import signal

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed

from session_memory import fault_points
from tests.faults import processes
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")

ENTRYPOINT = "tests/faults/persist_with_double.py:persist_sessions"


async def execute(run: FlowRun, **extra: str) -> processes.Ended:
    """What a process worker runs for a flow run."""
    return await processes.program("-m", "prefect.engine", str(run.id), PREFECT__FLOW_ENTRYPOINT=ENTRYPOINT, **extra)


async def cognify_states(client: PrefectClient, run: FlowRun) -> list[str]:
    tasks = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    latest = {task.name: task for task in sorted(tasks, key=lambda task: task.created)}
    return sorted(str(task.state_name) for name, task in latest.items() if name.startswith("cognify "))


async def test_a_killed_run_that_is_retried_shows_finished_windows_as_cached_and_does_the_rest(world, tmp_path):
    from flows.persist_sessions import persist_sessions

    sessions = [new_session() for _ in range(4)]
    for session in sessions:
        await world.say(session)
    async with get_client() as client:
        flow_id = await client.create_flow(persist_sessions)
        deployment = await client.create_deployment(flow_id, name="retried", entrypoint=ENTRYPOINT)
        run = await client.create_flow_run_from_deployment(
            deployment, parameters={"session_ids": sessions, "dataset": str(world.dataset.id)}
        )
        settings = {"SESSION_MEMORY_WINDOWS_PER_GROUP": "1"}
        killed = await execute(run, **settings, **{fault_points.VARIABLE: "locked:3=kill"})
        assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
        # As a worker does with a run whose process is gone.
        await client.set_flow_run_state(run.id, Crashed(), force=True)
        retried = await processes.program("-m", "prefect", "flow-run", "retry", str(run.id))
        assert retried.returncode == 0, retried.output
        log = tmp_path / "calls"
        resumed = await execute(run, **settings, **{processes.LOG: str(log)})
        assert resumed.returncode == 0, resumed.output[-3000:]
        state = (await client.read_flow_run(run.id)).state
        assert state is not None
        assert state.is_completed(), state
        assert await cognify_states(client, run) == ["Cached", "Cached", "Completed", "Completed"]
    assert processes.calls_in(log) == 4
    assert await world.all_stored_once()
