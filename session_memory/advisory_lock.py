"""A lock that is a Postgres session's: for processes of any machine. The server frees it when the connection ends."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b

from cognee.infrastructure.databases.relational import get_relational_engine
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from session_memory.errors import DatasetBusy, LockLost

_POLL_SECONDS = 0.2
#: How often the connection is tried that holds the lock, and how long it may take to answer.
_PING_SECONDS = 5.0
#: Postgres cuts what a connection calls itself there.
_NAME_BYTES = 63

#: The server ends the session of a machine that vanished after a minute, and not after two hours.
_KEEPALIVE = ("SET tcp_keepalives_idle = 30", "SET tcp_keepalives_interval = 10", "SET tcp_keepalives_count = 3")
_HOLDER = """
    SELECT activity.application_name, activity.pid FROM pg_locks
    JOIN pg_stat_activity AS activity ON activity.pid = pg_locks.pid
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND classid::bigint = :high AND objid::bigint = :low AND activity.datname = current_database()
"""


@asynccontextmanager
async def hold(name: str, *, called: str, holder: str, wait_seconds: float) -> AsyncIterator[None]:
    """Hold the lock of a name, as `dataset_lock.hold_named` says."""
    key = _key(name)
    async with _connection(holder) as connection:
        deadline = time.monotonic() + wait_seconds
        while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}):
            if time.monotonic() >= deadline:
                raise DatasetBusy(held=called, seconds=round(wait_seconds), holder=await _who_holds(connection, key))
            await asyncio.sleep(_POLL_SECONDS)
        # Never due by itself: losing the connection makes it so, which cancels what runs under the lock.
        lost = asyncio.timeout(None)
        try:
            async with lost:
                watch = asyncio.create_task(_watch(connection, lost))
                try:
                    yield
                finally:
                    watch.cancel()
                    await asyncio.wait([watch])
        except TimeoutError:
            if lost.expired():
                raise LockLost(held=called) from None
            raise


@asynccontextmanager
async def _connection(holder: str) -> AsyncIterator[AsyncConnection]:
    """A connection made as cognee makes its own, and no part of its pool."""
    connection = await get_relational_engine().engine.connect()
    try:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.run_sync(lambda sync: sync.detach())
        called = f"{holder} ({os.getpid()} on {socket.gethostname()})".encode()[:_NAME_BYTES].decode(errors="ignore")
        await connection.execute(text("SELECT set_config('application_name', :called, false)"), {"called": called})
        for statement in _KEEPALIVE:
            await connection.execute(text(statement))
        yield connection
    finally:
        # Of a server that is gone there is nothing left to close.
        with suppress(Exception):
            await connection.close()


async def _watch(connection: AsyncConnection, lost: asyncio.Timeout) -> None:
    try:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            async with asyncio.timeout(_PING_SECONDS):
                await connection.execute(text("SELECT 1"))
    except Exception:  # noqa: BLE001 - whatever it is, the session that held the lock is not to be relied on
        lost.reschedule(asyncio.get_running_loop().time())


async def _who_holds(connection: AsyncConnection, key: int) -> str:
    parts = {"high": key >> 32 & 0xFFFFFFFF, "low": key & 0xFFFFFFFF}
    row = (await connection.execute(text(_HOLDER), parts)).first()
    return f"{row.application_name}, Postgres session {row.pid}" if row else "a session that has just ended"


def _key(name: str) -> int:
    """The lock's number, of 64 bits, signed."""
    return int.from_bytes(blake2b(f"session-memory:{name}".encode(), digest_size=8).digest(), signed=True)
