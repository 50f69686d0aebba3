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
# Ladybug's words; it has no class for it.
_HELD = "Could not set lock on file"
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
            if _HELD not in str(error):
                raise
            return Path(graph["graph_file_path"])
    return None


def _holder(path: Path) -> str:
    """Who has the file open, as far as this account may see."""
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if process.pid != os.getpid() and any(Path(file.path) == path for file in process.open_files()):
                return f"process {process.pid} ({process.name()}) on {socket.gethostname()}"
        except psutil.Error:
            continue
    return "another process, which this account may not see"
