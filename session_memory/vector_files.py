"""A dataset's vectors where they are files: LanceDB's folder, a table in each folder of it."""

import asyncio
import shutil
import time
from contextlib import suppress
from pathlib import Path

from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.vector.config import get_vectordb_context_config

from session_memory.models import Target

#: Seconds after which nobody makes a table any more: it takes a few milliseconds.
_MAKING_SECONDS = 5.0


async def clear_half_made(target: Target) -> None:
    """Remove what a process left that was killed while it made a table. The caller holds the dataset.

    Until its first manifest is written a table is a folder that LanceDB lists and cannot open, and cognee makes none
    that is listed: nothing could be written to the dataset ever again.
    """
    async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
        vectors = get_vectordb_context_config()
    if vectors["vector_db_provider"] == "lancedb":
        await asyncio.to_thread(_clear, Path(vectors["vector_db_url"]))


def _clear(folder: Path) -> None:
    for table in folder.glob("*.lance"):
        if any(table.glob("_versions/*.manifest")):
            continue
        # A file that goes away meanwhile is one that somebody is just making into a table.
        with suppress(FileNotFoundError):
            touched = max(path.stat().st_mtime for path in (table, *table.rglob("*")))
            if time.time() - touched > _MAKING_SECONDS:
                shutil.rmtree(table)
