"""Which requests for a run in the background are the same one. No worker touches their runs."""

import time

import pytest
from prefect.client.orchestration import get_client

from flows.persist_sessions import persist_sessions
from session_memory.errors import NeedsDeployment
from tests.deployments.prefect_server import PrefectServer
from tests.running import submit
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("llm")]


@pytest.mark.parametrize("end", ["FAILED", "CRASHED", "CANCELLED"])
async def test_a_request_after_a_dead_run_makes_a_new_one(at_server: PrefectServer, world: World, end: str):
    session = new_session()
    ids = []
    for _ in range(3):
        report = await submit(world, session)
        assert (await submit(world, session)).flow_run_id == report.flow_run_id
        ids.append(report.flow_run_id)
        state = {"state": {"type": end}, "force": True}
        (await at_server.api.post(f"/flow_runs/{report.flow_run_id}/set_state", json=state)).raise_for_status()
    assert len(set(ids)) == 3


async def test_a_request_in_the_next_minute_by_the_clock_is_still_the_same(at_server, world: World, monkeypatch):
    session = new_session()
    first = await submit(world, session)
    soon = time.time() + 60
    monkeypatch.setattr("flows.background.time.time", lambda: soon)
    assert (await submit(world, session)).flow_run_id == first.flow_run_id
    later = time.time() + 120
    monkeypatch.setattr("flows.background.time.time", lambda: later)
    report = await submit(world, session)
    assert report.flow_run_id != first.flow_run_id
    for run_id in (first.flow_run_id, report.flow_run_id):
        await at_server.api.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLED"}, "force": True})


@pytest.mark.usefixtures("prefect_server")
async def test_without_a_deployment_it_says_so(world: World):
    with pytest.raises(NeedsDeployment, match=r"persist-sessions/on-demand.*has none\. Run `prefect deploy --all`"):
        await submit(world, new_session())


@pytest.mark.usefixtures("prefect_server")
async def test_without_a_worker_the_run_waits_and_the_report_says_so(world: World):
    async with get_client() as client:
        deployment = await client.create_deployment(await client.create_flow(persist_sessions), name="on-demand")
        try:
            report = await submit(world, new_session())
            assert "No worker answers for the deployment persist-sessions/on-demand" in str(report.note)
            assert "prefect worker start --pool session-memory" in str(report.note)
            state = (await client.read_flow_run(report.flow_run_id)).state
            assert state is not None
            assert state.is_scheduled()
        finally:
            await client.delete_deployment(deployment)
