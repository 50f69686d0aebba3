"""A worker and its run are killed together: the automations take it up, and every turn is there once."""

import asyncio

import pytest

from tests.deployments.llm_server import LLMServer
from tests.deployments.prefect_server import PrefectServer, end
from tests.running import until
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("llm"), pytest.mark.timeout(600)]


async def test_a_killed_nightly_run_is_marked_crashed_and_run_again_once(server: PrefectServer, llm_server: LLMServer):
    first, second = [await World.own() for _ in range(2)]
    await first.say(new_session())
    await second.say(new_session(), question="What is Unfinished?")
    llm_server.hanging = "Unfinished"

    async def state_is(name: str) -> bool:
        return (await server.read_run(run_id))["state_name"] == name

    async def is_half_done() -> bool:
        children = await server.find("flow_runs", flows={"name": {"any_": ["persist-sessions"]}})
        of_users = {
            run["parameters"]["user"]: run["state_name"]
            for run in children
            if run["parameters"].get("user") in {str(first.user.id), str(second.user.id)}
        }
        return sorted(of_users.values()) == ["Completed", "Running"] and llm_server.held > 0

    with server.worker(**llm_server.environment) as worker:
        response = await server.request_run(
            "persist-pending-sessions/nightly", users=[first.user.email, second.user.email], datasets_at_a_time=1
        )
        run_id = response.json()["id"]
        await until(is_half_done, 180)
        end(worker.pid, hard=True)
    llm_server.hanging = None

    await until(lambda: state_is("AwaitingRetry"), 240)
    states = (await server.api.get("/flow_run_states/", params={"flow_run_id": run_id})).json()
    assert ("Crashed", "No sign of life for 90 s.") in {(state["name"], state["message"]) for state in states}
    with server.worker(**llm_server.environment):
        await until(lambda: state_is("Completed"), 180)
        run = await server.read_run(run_id)
        assert run["run_count"] == 2
        assert run["state"]["message"].startswith("1 session of 1 user in 1 dataset: 1 persisted"), run["state"]
        for world in (first, second):
            assert await world.all_stored_once()

        # Once: a run that crashes again stays as it is, and is an alert.
        crashed = {"state": {"type": "CRASHED"}, "force": True}
        (await server.api.post(f"/flow_runs/{run_id}/set_state", json=crashed)).raise_for_status()
        await asyncio.sleep(10)
        assert await state_is("Crashed")

    async def has_alerted() -> bool:
        fired = await server.events("prefect.automation.triggered")
        return "session-memory: a run failed or crashed" in {one["resource"]["prefect.resource.name"] for one in fired}

    await until(has_alerted, 90)
