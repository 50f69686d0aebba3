"""What the events of runs tell."""

import socket

import pytest
from prefect.client.orchestration import get_client

from tasks import events
from tests.running import persist, until
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_a_run_tells_its_machine(world, llm):
    session = new_session()
    await world.say(session)
    await persist(world, session)
    async with get_client() as client:

        async def told() -> bool:
            return await events.hosts_lately(client) == {socket.gethostname()}

        await until(told)
