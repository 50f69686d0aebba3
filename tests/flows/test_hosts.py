"""Each run says which machine ran it."""

import socket

import pytest
from prefect.client.orchestration import get_client

from flows import hosts
from tests.running import persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_a_run_notes_its_machine(world, llm):
    session = new_session()
    await world.say(session)
    await persist(world, session)
    async with get_client() as client:
        assert await hosts.lately(client) == {socket.gethostname()}
