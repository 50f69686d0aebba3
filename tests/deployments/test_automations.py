"""The automations, as the server keeps and carries them out."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client

from deployments import automations
from session_memory.errors import AlertBlockNotFound
from session_memory.settings import get_settings
from tests.deployments.prefect_server import PrefectServer
from tests.running import until
from tests.world import World, expire_in, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("llm")]


@pytest.fixture
def told() -> Iterator[tuple[str, list[str]]]:
    """A web service that keeps what it is sent: its address, and that."""
    received: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    service = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{service.server_port}", received
    service.shutdown()
    service.server_close()


@pytest.mark.usefixtures("worker")
async def test_turns_that_expire_soon_are_told_to_the_block_that_is_set(at_server: PrefectServer, told):
    address, received = told
    settings = get_settings().model_copy(update={"alert_block": "webhook/session-memory-tests"})
    world = await World.own()
    session = new_session()
    await world.say(session)
    await expire_in(world, session, hours=2.1)
    async with get_client() as client:
        with pytest.raises(AlertBlockNotFound, match="no block webhook/session-memory-tests"):
            await automations.apply(client, settings)
        await Webhook(url=address).save("session-memory-tests", overwrite=True)
        await automations.apply(client, settings)
        try:
            # It is left, because somebody still talks.
            run = await at_server.run("persist-pending-sessions/nightly", users=[world.user.email], idle_minutes=60)
            assert run["state_name"] == "Completed", await at_server.told(run)
            assert "1 left (1 still active)" in run["state"]["message"]
            assert "first to expire in 2 hours" in run["state"]["message"]

            async def is_told() -> bool:
                return any("about to expire from the cache: 1, of sessions: 1, the first" in one for one in received)

            await until(is_told, 120)
        finally:
            await automations.apply(client, get_settings())
    (event,) = await at_server.events_of(run["id"], "session-memory.turns.expiring")
    assert event["payload"]["first"] == [{"user": world.user.email, "session_id": session, "reason": "still active"}]
    assert world.said.popitem()[1] not in json.dumps(event) + "".join(received)


async def test_what_is_applied_again_is_updated_and_a_double_goes(server: PrefectServer):
    ours = [one for one in await server.find("automations") if one["name"].startswith(automations.PREFIX)]
    alert = next(one for one in ours if one["name"].endswith("a run failed or crashed"))
    double = {key: alert[key] for key in ("name", "description", "enabled", "trigger", "actions")}
    (await server.api.post("/automations/", json=double)).raise_for_status()
    changed = double | {"description": "changed by hand"}
    (await server.api.put(f"/automations/{alert['id']}", json=changed)).raise_for_status()
    server.command("automations", tool="session-memory")
    after = [one for one in await server.find("automations") if one["name"].startswith(automations.PREFIX)]
    assert sorted(one["name"] for one in after) == sorted(one["name"] for one in ours)
    assert "changed by hand" not in {one["description"] for one in after}
