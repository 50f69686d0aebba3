"""The lock in Postgres, against a real server: one holder, named to who waits, and freed whatever ends it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from session_memory import advisory_lock
from session_memory.errors import DatasetBusy, LockLost
from tests import servers

_HOLDER = """
import asyncio, sys
from types import SimpleNamespace
from sqlalchemy.ext.asyncio import create_async_engine
from session_memory import advisory_lock

advisory_lock.get_relational_engine = lambda: SimpleNamespace(engine=create_async_engine(sys.argv[1]))

async def main():
    async with advisory_lock.hold("bench", called="dataset bench", holder="another", wait_seconds=0):
        print("held", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@asynccontextmanager
async def ledger_on(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(url)
    monkeypatch.setattr(advisory_lock, "get_relational_engine", lambda: SimpleNamespace(engine=engine))
    try:
        yield engine
    finally:
        await engine.dispose()


def hold(wait_seconds: float = 0, name: str = "bench"):
    return advisory_lock.hold(name, called="dataset bench", holder="flow run quick-fox", wait_seconds=wait_seconds)


async def held(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")) or 0)


async def lose(engine: AsyncEngine) -> None:
    async with hold():
        async with engine.connect() as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
        await asyncio.sleep(20)
        pytest.fail("it was not stopped")


async def test_one_holds_it_and_is_named_to_who_waits(tmp_path: Path, monkeypatch):
    with servers.postgres(tmp_path) as url:
        async with ledger_on(url, monkeypatch) as engine:
            async with hold(), hold(name="another dataset"):
                with pytest.raises(DatasetBusy, match="flow run quick-fox"):
                    async with hold(wait_seconds=0.3):
                        pytest.fail("two hold it")
                assert await held(engine) == 2
            assert await held(engine) == 0
            with pytest.raises(ZeroDivisionError):
                async with hold():
                    raise ZeroDivisionError
            async with hold():
                assert await held(engine) == 1


async def test_a_killed_holder_frees_it(tmp_path: Path, monkeypatch):
    with servers.postgres(tmp_path) as url:
        async with ledger_on(url, monkeypatch):
            process = subprocess.Popen([sys.executable, "-c", _HOLDER, url], stdout=subprocess.PIPE, text=True)
            try:
                assert process.stdout
                assert await asyncio.to_thread(process.stdout.readline) == "held\n"
                with pytest.raises(DatasetBusy, match="another"):
                    async with hold():
                        pytest.fail("two hold it")
                process.send_signal(signal.SIGKILL)
                async with hold(wait_seconds=20):
                    pass
            finally:
                process.kill()
                process.wait()


async def test_who_loses_it_with_the_server_is_stopped_and_it_is_free_again(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(advisory_lock, "_PING_SECONDS", 0.2)
    with servers.postgres(tmp_path) as url:
        async with ledger_on(url, monkeypatch) as engine:
            with pytest.raises(LockLost):
                await lose(engine)
            assert await held(engine) == 0
    with servers.postgres(tmp_path) as url:
        async with ledger_on(url, monkeypatch), hold():
            pass
