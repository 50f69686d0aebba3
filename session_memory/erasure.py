"""Takes what was removed off the disk too, where stores are embedded; servers do so when they vacuum.

LanceDB keeps old versions of its tables, Ladybug the text of deleted nodes, SQLite its write-ahead log.
"""

import asyncio
import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.cache.get_cache_engine import get_cache_engine
from cognee.infrastructure.databases.graph.config import get_graph_context_config
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.databases.vector.config import get_vectordb_config, get_vectordb_context_config
from cognee.infrastructure.locks import dataset_lock as cognee_dataset_lock
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine

from session_memory import graph_file
from session_memory.models import Target


async def erase(target: Target, *, cache: bool) -> list[str]:
    """Rewrite the embedded stores without what was deleted from them. The caller holds the dataset.

    Args:
        cache: those of the session cache too.

    Returns:
        Files that another process was using, in which bytes of deleted rows may stand until it is done again.
    """
    async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
        vectors, graph = get_vectordb_context_config(), get_graph_context_config()
    # Outside the dataset cognee keeps the vectors of what the cache holds.
    stores = [vectors, *([vars(get_vectordb_config())] if cache else [])]
    for folder in {Path(one["vector_db_url"]) for one in stores if one["vector_db_provider"] == "lancedb"}:
        await asyncio.to_thread(_rewrite_tables, folder)
    if graph["graph_database_provider"] == "ladybug":
        await graph_file.let_go(target)
        async with cognee_dataset_lock(target.dataset_id):
            await asyncio.to_thread(_rewrite_graph, Path(graph["graph_file_path"]))
    engines: list[AsyncEngine] = [get_relational_engine().engine]
    if cache and hasattr(get_cache_engine(), "engine"):
        engines.append(get_cache_engine().engine)
    return [file for engine in engines if (file := await _rewrite_sqlite(engine)) is not None]


def _rewrite_tables(folder: Path) -> None:
    import lance

    for path in folder.glob("*.lance"):
        table = lance.dataset(str(path))
        table.optimize.compact_files(materialize_deletions=True, materialize_deletions_threshold=0.0)
        # Files of no version are left: somebody may be writing them now.
        table.cleanup_old_versions(timedelta(0))


def _rewrite_graph(path: Path) -> None:
    """Write the graph anew from what it holds: nothing else takes the text of deleted nodes out of the file."""
    import ladybug

    folder = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=path.parent))
    try:
        new = folder / "new.lbug"
        before = _copy(ladybug, path, [f"EXPORT DATABASE '{folder / 'export'}' (format='parquet')"])
        after = _copy(ladybug, new, [f"IMPORT DATABASE '{folder / 'export'}'", "CHECKPOINT"])
        if before != after:
            raise RuntimeError("the copy of the graph is not complete")
        os.replace(new, path)
    finally:
        shutil.rmtree(folder)


def _copy(ladybug: Any, path: Path, statements: list[str]) -> tuple[int, int]:
    """Run statements on a graph's file; how many nodes and edges it holds after them."""
    with ladybug.Database(str(path)) as database, ladybug.Connection(database) as connection:
        for statement in ["CHECKPOINT", *statements]:
            connection.execute(statement)
        counts = [connection.execute(f"MATCH {what} RETURN count(*)") for what in ("(n)", "()-[r]->()")]
        nodes, edges = (int(count.get_next()[0]) for count in counts)
    return nodes, edges


async def _rewrite_sqlite(engine: AsyncEngine) -> str | None:
    """Empty the write-ahead log and free pages of a SQLite file; its path if another process was using it."""
    if engine.dialect.name != "sqlite":
        return None
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        try:
            zeroed = (await connection.execute(text("PRAGMA secure_delete"))).scalar_one()
            if not zeroed:
                await connection.execute(text("VACUUM"))
            busy = (await connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))).one()[0]
        except OperationalError:
            busy = True
    return str(engine.url.database) if busy else None
