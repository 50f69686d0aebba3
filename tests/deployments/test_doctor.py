"""What the doctor sees of Prefect's side: a real server with its deployments, its worker and its automations."""

import json
import os
import subprocess
from typing import Any

import pytest

from tests.deployments.prefect_server import BIN, ROOT, PrefectServer
from tests.world import World

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("worker", "llm")]


def examined(server: PrefectServer, world: World) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and the last finding of each name."""
    ended = subprocess.run(
        [BIN / "session-memory", "doctor", "--dataset", str(world.dataset.id), "--json"],
        cwd=ROOT,
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stdout, ended.stderr
    return ended.returncode, {one["name"]: one for one in json.loads(ended.stdout)["findings"]}


async def test_the_doctor_finds_a_served_machine_in_order_and_a_paused_night(server: PrefectServer, world: World):
    code, found = examined(server, world)
    assert code == 0, found
    levels = {name: found[name]["level"] for name in ("Prefect", "deployments", "workers", "automations", "expiry")}
    assert set(levels.values()) == {"ok"}, found
    assert found["expiry"]["detail"] == "a session lives 7 days, and it is up to a day between two runs"

    nightly = await server.deployment("persist-pending-sessions/nightly")
    try:
        await server.api.post(f"/deployments/{nightly['id']}/pause_deployment")
        code, found = examined(server, world)
    finally:
        await server.api.post(f"/deployments/{nightly['id']}/resume_deployment")
    assert code == 0
    assert found["schedule"]["detail"].startswith("nightly is paused")
    assert found["expiry"]["detail"].endswith("nothing is scheduled")


async def test_the_doctor_names_a_server_that_does_not_answer(server: PrefectServer, world: World):
    ended = subprocess.run(
        [BIN / "session-memory", "doctor", "--dataset", str(world.dataset.id)],
        cwd=ROOT,
        env={**os.environ, **server.environment, "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 1
    assert "PROBLEM  Prefect: the server does not answer" in ended.stdout
