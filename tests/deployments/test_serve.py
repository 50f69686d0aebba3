"""`session-memory serve`: everything on one machine, until Ctrl-C."""

import signal
import sqlite3
from pathlib import Path

import httpx
import psutil
import pytest

from tests.deployments.llm_server import LLMServer
from tests.deployments.prefect_server import PrefectServer
from tests.running import until
from tests.world import World, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("llm")]

#: What a process finds that starts the server itself.
NO_SERVER = {"PREFECT_API_URL": "", "PREFECT_UI_URL": ""}


async def test_it_serves_until_ctrl_c_and_leaves_nothing_behind(tmp_path: Path, llm_server: LLMServer, world: World):
    server = PrefectServer(tmp_path)
    log = tmp_path / "serve.log"
    arguments = ("serve", "--port", server.address.rsplit(":", 1)[1])
    finished, cut = new_session(), new_session()
    await world.say(finished)

    async def is_served() -> bool:
        return "Ctrl-C ends all of it." in log.read_text()

    async def is_running() -> bool:
        return (await server.read_run(run_id))["state_name"] == "Running" and llm_server.held > 0

    environment = llm_server.environment | NO_SERVER
    with server.program(*arguments, log=log, tool="session-memory", **environment) as process:
        await until(is_served, 90)
        deployments = await server.find("deployments")
        assert {one["name"]: [s["active"] for s in one["schedules"]] for one in deployments} == {
            "on-demand": [],
            "nightly": [True],
            "expiring": [True],
        }
        assert {one["work_pool_name"] for one in deployments} == {None}
        page = httpx.get(f"{server.address}/deployments", headers={"accept": "text/html"})
        assert page.headers["content-type"].startswith("text/html")

        wrong = await server.request_run("persist-sessions/on-demand", session_ids=["s"], colour="red")
        assert (wrong.status_code, "colour" in wrong.text) == (409, True)
        run = await server.run("persist-sessions/on-demand", session_ids=[finished], dataset=world.dataset.name)
        assert run["state_name"] == "Completed", await server.told(run)

        await world.close_graph()
        await world.say(cut, question="What is Unfinished?")
        llm_server.hanging = "Unfinished"
        response = await server.request_run("persist-sessions/on-demand", session_ids=[cut], dataset=world.dataset.name)
        run_id = response.json()["id"]
        await until(is_running, 60)
        everything = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        assert len(everything) >= 3
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 0, log.read_text()
    assert log.read_text().splitlines()[-1] == "Stopped."
    assert "Traceback" not in log.read_text()
    assert not [pid for pid in everything if psutil.pid_exists(pid)]
    with sqlite3.connect(tmp_path / "prefect.db") as database:
        states = dict(database.execute("select id, state_name from flow_run").fetchall())
        assert states[run_id] == "Cancelled"
        assert not database.execute("select 1 from deployment_schedule where active").fetchall()
    llm_server.hanging = None
    assert (await world.times("Unfinished")) == (0, 0)


async def test_a_port_that_is_taken_is_named(tmp_path: Path, server: PrefectServer):
    log = tmp_path / "serve.log"
    port = server.address.rsplit(":", 1)[1]
    with server.program("serve", "--port", port, log=log, tool="session-memory", **NO_SERVER) as process:
        assert process.wait(timeout=60) == 1
    assert f"error: Port {port} is taken" in log.read_text()
    assert "Traceback" not in log.read_text()
