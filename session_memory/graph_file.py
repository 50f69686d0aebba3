"""A dataset's graph where it is a file, which one process at a time can have open."""

import asyncio
import os
import socket
import time
from pathlib import Path

import psutil
from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.graph.config import get_graph_context_config
from cognee.infrastructure.databases.graph.get_graph_engine import graph_engine_cache
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.locks import dataset_lock as cognee_dataset_lock
from cognee.modules.data.models import Dataset

from session_memory.errors import GraphHeld
from session_memory.models import Target

#: cognee's graphs that are a file of one process; Kuzu is Ladybug's former name.
_GRAPH_FILES = {"ladybug", "kuzu"}
# Ladybug's words; it has no classes for them.
_HELD = "Could not set lock on file"
_HALF_CHECKPOINTED = ".shadow' does not match the current database"
_POLL_SECONDS = 1.0


async def take(target: Target, *, wait_seconds: float) -> None:
    """Open the dataset's graph, as soon as every other process has closed it.

    Raises:
        GraphHeld: one had it open all that time; names it.
    """
    deadline = time.monotonic() + wait_seconds
    while (path := await _open(target)) is not None:
        if time.monotonic() >= deadline:
            holder = await asyncio.to_thread(_holder, path)
            raise GraphHeld(dataset=target.dataset_name, seconds=round(wait_seconds), holder=holder)
        await asyncio.sleep(_POLL_SECONDS)


async def let_go(target: Target) -> None:
    """Close the dataset's graph."""
    # Under cognee's own lock: whoever else uses the graph in this process, to delete it for one, is not to lose it.
    async with cognee_dataset_lock(target.dataset_id):
        await _let_go(target)


async def _let_go(target: Target) -> None:
    async with get_relational_engine().get_async_session() as session:
        if await session.get(Dataset, target.dataset_id) is None:
            # Deleted meanwhile, and its graph with it.
            return
    async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
        graph = get_graph_context_config()
        if graph["graph_database_provider"] not in _GRAPH_FILES:
            return
        # By force: an idle handle that somebody still holds would keep the file; it opens the graph again when used.
        graph_engine_cache.evict(force_close=True, **graph)
    await graph_engine_cache.aevict_for_database(graph["graph_database_name"])


async def _open(target: Target) -> Path | None:
    """Open the dataset's graph; its path if another process has it open."""
    async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
        graph = get_graph_context_config()
        if graph["graph_database_provider"] not in _GRAPH_FILES:
            return None
        try:
            await get_graph_engine()
        except RuntimeError as error:
            path = Path(graph["graph_file_path"])
            if _HELD in str(error):
                return path
            if _HALF_CHECKPOINTED not in str(error) or not await asyncio.to_thread(_finish_checkpoint, path):
                raise
            await get_graph_engine()
    return None


def _finish_checkpoint(path: Path) -> bool:
    """Do what a process was killed before it did, at the end of a checkpoint; whether that was it.

    Ladybug writes changed pages to a shadow file, copies them into the graph, empties the shadow file and removes the
    log. Killed before the last step it wants the pages again, finds none, and opens the graph never more (Ladybug 0.19;
    63 of 170 kills of a process that checkpoints all the time). An empty shadow file says that all pages are in the
    graph.
    """
    shadow, log = (path.with_name(f"{path.name}.{kind}") for kind in ("shadow", "wal.checkpoint"))
    if not shadow.exists() or shadow.stat().st_size:
        return False
    # The log first: without the shadow file it could not be read at all.
    log.unlink(missing_ok=True)
    shadow.unlink()
    return True


def _holder(path: Path) -> str:
    """Who has the file open, as far as this account may see."""
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if process.pid != os.getpid() and any(Path(file.path) == path for file in process.open_files()):
                return f"process {process.pid} ({process.name()}) on {socket.gethostname()}"
        except psutil.Error:
            continue
    return "another process, which this account may not see"
