"""A nightly run that spreads over workers: every turn once, and one worker killed meanwhile."""

import os
from functools import partial
from typing import Any

import psutil
import pytest

from tests.deployments.llm_server import LLMServer
from tests.deployments.prefect_server import PrefectServer, end
from tests.running import until
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("llm"), pytest.mark.timeout(900)]

#: Datasets of the run; `SPREAD_DATASETS=30` for the figure of the README.
DATASETS = int(os.environ.get("SPREAD_DATASETS", "6"))


async def test_a_nightly_run_spreads_over_the_workers_and_survives_the_death_of_one(
    server: PrefectServer, llm_server: LLMServer
):
    worlds = [await World.own() for _ in range(DATASETS)]
    for world in worlds:
        await world.say(new_session())
        await world.say(new_session())
    refused = new_session()
    await worlds[0].say(refused, question="What is Refused?")
    hanging = worlds[1]
    await hanging.say(new_session(), question="What is Unanswered?")
    llm_server.refusing, llm_server.hanging = "Refused", "Unanswered"
    users = {str(world.user.id) for world in worlds}

    async def runs_of_workers() -> list[dict[str, Any]]:
        found = await server.find("flow_runs", flows={"name": {"any_": ["persist-sessions"]}}, limit=200)
        return [run for run in found if run["parameters"].get("user") in users]

    async def one_is_stuck() -> bool:
        return llm_server.held > 0

    # Neither takes all.
    limited = partial(server.worker, "--limit", "3", **llm_server.environment)
    with limited() as first, limited() as second:
        response = await server.request_run(
            "persist-pending-sessions/nightly",
            users=[world.user.email for world in worlds],
            on_workers=True,
            datasets_at_a_time=4,
        )
        run_id = response.json()["id"]
        await until(one_is_stuck, 300)
        parent = (await server.read_run(run_id))["infrastructure_pid"]
        stuck = await pid_of(runs_of_workers, str(hanging.user.id))
        pids = [str(run["infrastructure_pid"]) for run in await runs_of_workers() if run["infrastructure_pid"]]
        assert all(any(is_below(worker.pid, pid) for pid in [parent, *pids]) for worker in (first, second))
        # Of the two workers the one whose run hangs; that run alone, if the nightly run itself is there too.
        doomed = first if is_below(first.pid, stuck) else second
        if is_below(doomed.pid, parent):
            os.kill(int(stuck), 9)
        else:
            end(doomed.pid, hard=True)
        llm_server.hanging = None

        async def has_ended() -> bool:
            return (await server.read_run(run_id))["state_type"] in {"COMPLETED", "FAILED", "CRASHED"}

        await until(has_ended, 600)
    llm_server.refusing = None
    run = await server.read_run(run_id)
    assert f"of {DATASETS} users in {DATASETS} datasets" in run["state"]["message"], run["state"]
    assert "1 quarantined" in run["state"]["message"], run["state"]
    assert "failed" not in run["state"]["message"], run["state"]
    runs = await runs_of_workers()
    assert len(runs) == DATASETS
    assert any(one["run_count"] > 1 for one in runs), "nobody took the killed run up"
    for world in worlds:
        stored = await world.stored()
        asked = {qa_id: times for qa_id, times in stored.items() if "Refused" not in world.said[qa_id]}
        assert set(asked.values()) == {(1, 1)}, stored


async def pid_of(runs: Any, user: str) -> str:
    (run,) = [one for one in await runs() if one["parameters"]["user"] == user]
    return str(run["infrastructure_pid"])


def is_below(worker: int, pid: str) -> bool:
    """Whether a process was started by a worker."""
    return psutil.pid_exists(int(pid)) and worker in {one.pid for one in psutil.Process(int(pid)).parents()}
