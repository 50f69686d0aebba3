"""A dataset for one user of its stores alone: its lock, and its graph where that is a file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from session_memory import dataset_lock, fault_points, graph_file, vector_files
from session_memory.models import Target


@asynccontextmanager
async def hold(target: Target, *, holder: str, wait_seconds: float) -> AsyncIterator[None]:
    """Hold the dataset, over all processes, with its graph open.

    Args:
        holder: who waits, as the next one who waits is told.
        wait_seconds: how long to wait for another holder, and then for another process that has the graph open.

    Raises:
        DatasetBusy, GraphHeld: somebody else had it all that time; names them.
        LockLost: the connection that held it broke, and what ran under it was cancelled.
    """
    async with dataset_lock.hold(target, holder=holder, wait_seconds=wait_seconds):
        await graph_file.take(target, wait_seconds=wait_seconds)
        try:
            await vector_files.clear_half_made(target)
            fault_points.reach("locked")
            yield
        finally:
            await graph_file.let_go(target)
