"""What another process does beside a run: holds its dataset or its graph, recovers stale runs, locks a database."""

import asyncio
import os
import sqlite3
import sys
import time
from pathlib import Path
from uuid import UUID

from session_memory import runtime


def hold_graph() -> None:
    """Open a dataset's graph and keep it open, as an application does after a search.

    Arguments: the dataset, a file to write the process id to, a file whose appearance ends it.
    """
    asyncio.run(_hold_graph(UUID(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))


async def _hold_graph(dataset_id: UUID, held: Path, release: Path) -> None:
    await runtime.start()
    from cognee.context_global_variables import set_database_global_context_variables
    from cognee.infrastructure.databases.graph import get_graph_engine
    from cognee.infrastructure.databases.relational import get_relational_engine
    from cognee.modules.data.models import Dataset

    async with get_relational_engine().get_async_session() as session:
        dataset = await session.get(Dataset, dataset_id)
    async with set_database_global_context_variables(dataset_id, dataset.owner_id):
        await (await get_graph_engine()).get_graph_data()
    held.write_text(str(os.getpid()))
    while not release.exists():
        await asyncio.sleep(0.1)


def hold_dataset() -> None:
    """Hold a dataset's lock until it is killed. Arguments: the dataset, a file to write the process id to."""
    asyncio.run(_hold_dataset(sys.argv[1], Path(sys.argv[2])))


async def _hold_dataset(dataset_id: str, held: Path) -> None:
    await runtime.start()
    from session_memory.dataset_lock import hold_named

    async with hold_named(dataset_id, called="the dataset", holder="flow run busy-bee", wait_seconds=0):
        held.write_text(str(os.getpid()))
        await asyncio.Event().wait()


def recover_stale_runs() -> None:
    """What cognee's API server does at its start, for runs of any age."""
    asyncio.run(_recover_stale_runs())


async def _recover_stale_runs() -> None:
    await runtime.start()
    from cognee.modules.cognify import recovery

    recovery.STALE_RUN_MIN_AGE_SECONDS = 0
    await recovery.recover_stale_pipeline_runs_on_startup()


def lock_database() -> None:
    """Hold the write lock of an SQLite file. Arguments: the file, seconds, a file to write when it is held."""
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    Path(sys.argv[3]).touch()
    time.sleep(float(sys.argv[2]))
    connection.execute("ROLLBACK")
