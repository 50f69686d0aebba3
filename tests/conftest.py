"""One Prefect server, one cognee and one event loop for the whole session, in temporary folders."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests import double as double_module
from tests.backends import stores

# Before anything reads its settings: nothing of the machine's own, nothing that outlives the session.
_home = tempfile.TemporaryDirectory(prefix="session-memory-tests-")
HOME = Path(_home.name)
for key in [key for key in os.environ if key.startswith("OTEL_")]:
    del os.environ[key]
os.environ.update(
    double_module.ENVIRONMENT,
    SESSION_MEMORY_STATE_DIR=str(HOME),
    PREFECT_HOME=str(HOME / "prefect"),
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=str(HOME / "prefect" / "results"),
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    # Retries that a test can wait for.
    SESSION_MEMORY_LLM_RETRY_SECONDS="0",
    SESSION_MEMORY_RETRY_DELAY_SECONDS="0.05",
    SESSION_MEMORY_TASK_RETRIES="2",
    SESSION_MEMORY_LOCK_WAIT_SECONDS="20",
)


def _use_packaged_embeddings() -> None:
    """The real MiniLM, from its package."""
    from session_memory.local_models import embeddings

    os.environ.update(embeddings.environment(HOME / "models"))


def _load_cognee() -> None:
    # Test modules import from cognee; its environment is read at its own import.
    from session_memory import runtime
    from session_memory.settings import get_settings

    runtime.load(get_settings())


def _use_stores(config: pytest.Config, name: str) -> None:
    """Stores of a team in place of the embedded ones (`tests/backends/`)."""
    (HOME / "stores").mkdir()
    stack = ExitStack()
    config.add_cleanup(stack.close)
    os.environ.update(stack.enter_context(stores.serving(name, HOME / "stores")))


def pytest_configure(config: pytest.Config) -> None:
    # The process that only hands tests out (pytest-xdist) imports none of them.
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        if name := os.environ.get(stores.VARIABLE):
            _use_stores(config, name)
        _use_packaged_embeddings()
        _load_cognee()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A real Prefect server, for those who run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _engine() -> None:
    from session_memory import runtime

    await runtime.start()
    double_module.install()


@pytest_asyncio.fixture(loop_scope="session")
async def llm(_engine: None) -> AsyncIterator[double_module.Double]:
    """The LLM double, fresh; the only double there is."""
    double_module.double.reset()
    yield double_module.double
    double_module.double.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def world(llm: double_module.Double):
    """The default user with an empty dataset of their own."""
    from tests.world import World

    return await World.new()
