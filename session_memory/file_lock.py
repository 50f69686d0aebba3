"""A lock that is a file: for processes of one machine. The kernel frees it when its holder dies."""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cognee.base_config import get_base_config
from filelock import FileLock, Timeout

from session_memory.errors import DatasetBusy

_POLL_SECONDS = 0.2


@asynccontextmanager
async def hold(name: str, *, called: str, holder: str, wait_seconds: float) -> AsyncIterator[None]:
    """Hold the lock of a name, as `dataset_lock.hold_named` says."""
    path = lock_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except Timeout:
            if time.monotonic() >= deadline:
                raise DatasetBusy(held=called, seconds=round(wait_seconds), holder=_read_holder(path)) from None
            await asyncio.sleep(_POLL_SECONDS)
    try:
        _holder_path(path).write_text(json.dumps({"holder": holder, "pid": os.getpid(), "host": socket.gethostname()}))
        yield
    finally:
        _holder_path(path).unlink(missing_ok=True)
        lock.release()


def lock_path(name: str) -> Path:
    """The file whose lock it is; a dataset's is named by its id."""
    return Path(get_base_config().system_root_directory) / "session_memory" / f"{name}.lock"


def _holder_path(path: Path) -> Path:
    return path.with_suffix(".holder")


def _read_holder(path: Path) -> str:
    try:
        holder = json.loads(_holder_path(path).read_text())
    except (OSError, ValueError):
        return "a process that left no name"
    return f"{holder['holder']}, process {holder['pid']} on {holder['host']}"
