"""One Prefect server with its deployments and one LLM behind HTTP for all tests of this folder, a worker a file."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.deployments.llm_server import LLMServer

if TYPE_CHECKING:
    from tests.deployments.prefect_server import PrefectServer


@pytest.fixture(scope="session")
def llm_server() -> Iterator[LLMServer]:
    with LLMServer().serving() as server:
        yield server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["PrefectServer"]:
    """A Prefect server with everything deployed, as README says."""
    from tests.deployments.prefect_server import PrefectServer

    with PrefectServer(tmp_path_factory.mktemp("prefect")).serving() as server:
        server.command("work-pool", "create", "session-memory", "--type", "process")
        server.command("deploy", "--all")
        server.command("automations", tool="session-memory")
        yield server


@pytest.fixture
def at_server(server: "PrefectServer") -> Iterator["PrefectServer"]:
    """This process asks that server too."""
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: f"{server.address}/api", PREFECT_UI_URL: server.address}):
        yield server


@pytest.fixture(scope="module")
def worker(server: "PrefectServer", llm_server: LLMServer) -> Iterator[None]:
    with server.worker(**llm_server.environment):
        yield
