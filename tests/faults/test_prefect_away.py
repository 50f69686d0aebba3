"""Prefect's server restarted in the middle of a run."""

import socket

import httpx
import pytest

from session_memory.models import Outcome
from tests.faults import processes, runs
from tests.running import outcomes, persist, until
from tests.world import new_session

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.long]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.fault("Prefect's server restarted in mid-run")
async def test_a_restart_of_prefects_server_in_mid_run_doubles_nothing(world, llm, count, tmp_path):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    port, calls = free_port(), tmp_path / "calls"
    url = f"http://127.0.0.1:{port}/api"
    home = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": url}
    home |= {"PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{tmp_path}/prefect.db"}
    server = ["-m", "prefect", "server", "start", "--port", str(port)]

    async def is_up() -> bool:
        try:
            async with httpx.AsyncClient() as client:
                return (await client.get(f"{url}/health")).is_success
        except httpx.HTTPError:
            return False

    flow = ["-m", "tests.faults.persist_with_double", str(world.dataset.id), *sessions]
    slow = {processes.LOG: str(calls), processes.LATENCY: "5"}
    async with runs.executing(*server, log=tmp_path / "server-1", **home) as first:
        await until(is_up, 90)
        async with runs.executing(*flow, log=tmp_path / "flow", **home, **slow) as run:
            await until(calls.exists, 90)
            first.kill()
            await first.wait()
            async with runs.executing(*server, log=tmp_path / "server-2", **home):
                await until(is_up, 90)
                await run.wait()
    # However the run itself came out of it.
    report = await persist(world, *sessions)
    assert set(outcomes(report).values()) <= {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    assert len(await world.documents()) == 2
    await count(world)
