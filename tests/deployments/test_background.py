"""`run_in_background`: handed over in a moment, one run for one request."""

import time
from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from flows.persist_sessions import persist_sessions
from session_memory.errors import NeedsDeployment
from session_memory.models import Outcome
from session_memory.report import PersistReport
from tests.deployments.prefect_server import PrefectServer
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("llm")]


@pytest.fixture
def at_server(server: PrefectServer) -> Iterator[PrefectServer]:
    """This process asks the server of the tests."""
    with temporary_settings({PREFECT_API_URL: f"{server.address}/api", PREFECT_UI_URL: server.address}):
        yield server


async def submit(world: World, session: str) -> PersistReport:
    return await persist_sessions(session_ids=[session], dataset=str(world.dataset.id), run_in_background=True)


@pytest.mark.usefixtures("worker")
async def test_a_request_is_handed_over_at_once_and_made_twice_it_is_one_run(at_server: PrefectServer, world: World):
    session = new_session()
    await world.say(session)
    started = time.monotonic()
    report = await submit(world, session)
    assert time.monotonic() - started < 2
    again = await submit(world, session)
    assert [one.outcome for one in report.sessions] == [Outcome.SUBMITTED]
    assert report.run_url == f"{at_server.address}/runs/flow-run/{report.flow_run_id}"
    assert again.flow_run_id == report.flow_run_id
    assert report.flow_run_id is not None
    run = await at_server.ended(report.flow_run_id)
    assert run["state_name"] == "Completed", await at_server.told(run)
    assert await world.all_stored_once()
    assert run["parameters"]["run_in_background"] is False
    late = await submit(world, session)
    assert (late.flow_run_id, "The same request was made" in str(late.note)) == (report.flow_run_id, True)


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


@pytest.mark.usefixtures("worker")
async def test_a_run_that_is_on_a_worker_ignores_it(at_server: PrefectServer, world: World):
    session = new_session()
    await world.say(session)
    run = await at_server.run(
        "persist-sessions/on-demand", session_ids=[session], dataset=str(world.dataset.id), run_in_background=True
    )
    assert run["state"]["message"].startswith("1 session: 1 persisted"), run["state"]
    assert await world.all_stored_once()


@pytest.mark.usefixtures("prefect_server")
async def test_without_a_deployment_it_says_so(world: World):
    with pytest.raises(NeedsDeployment, match=r"persist-sessions/on-demand.*has none\. Run `prefect deploy --all`"):
        await submit(world, new_session())
