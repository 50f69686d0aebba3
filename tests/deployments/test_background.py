"""`run_in_background`: handed over in a moment, one run for one request."""

import time

import pytest

from session_memory.models import Outcome
from tests.deployments.prefect_server import PrefectServer
from tests.running import submit
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("llm", "worker")]


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


async def test_a_run_that_is_on_a_worker_ignores_it(at_server: PrefectServer, world: World):
    session = new_session()
    await world.say(session)
    run = await at_server.run(
        "persist-sessions/on-demand", session_ids=[session], dataset=str(world.dataset.id), run_in_background=True
    )
    assert run["state"]["message"].startswith("1 session: 1 persisted"), run["state"]
    assert await world.all_stored_once()
