"""One writer a dataset, over all processes. The lock lives where the ledger lives: a file, or Postgres."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cognee.infrastructure.databases.relational import get_relational_engine

from session_memory import advisory_lock, file_lock
from session_memory.models import Target


@asynccontextmanager
async def hold(target: Target, *, holder: str, wait_seconds: float) -> AsyncIterator[None]:
    """Hold the dataset's lock; it is freed when the process dies.

    Args:
        holder: who waits, as the next one who waits is told.
        wait_seconds: how long to wait for another holder.

    Raises:
        DatasetBusy: somebody else held it all that time; names them.
        LockLost: the connection that held it broke, and what ran under it was cancelled.
    """
    called = f"dataset {target.dataset_name}"
    async with hold_named(str(target.dataset_id), called=called, holder=holder, wait_seconds=wait_seconds):
        yield


@asynccontextmanager
async def hold_named(name: str, *, called: str, holder: str, wait_seconds: float) -> AsyncIterator[None]:
    """As `hold`, for anything that has a name; `called` is what the error says of it."""
    in_postgres = get_relational_engine().engine.dialect.name == "postgresql"
    lock = advisory_lock.hold if in_postgres else file_lock.hold
    async with lock(name, called=called, holder=holder, wait_seconds=wait_seconds):
        yield
