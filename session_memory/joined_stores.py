"""Joins the writes of documents to cognee's embedded stores.

cognee stores each document by itself: two statements and two checkpoints of the graph and seven writes to the vector
store, each under a lock. Those of documents that are ready at the same time become one each. A document whose part
cannot be written fails alone, as before.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from functools import wraps
from typing import Any, NamedTuple

from cognee.infrastructure.databases.graph.ladybug.adapter import LadybugAdapter
from cognee.infrastructure.databases.provenance import EdgeIdentity
from cognee.infrastructure.databases.vector.lancedb.LanceDBAdapter import LanceDBAdapter

from session_memory.joining import Joined

Method = Callable[..., Coroutine[Any, Any, Any]]

#: Where an adapter keeps what joins its writes.
_JOINED = "_session_memory_joined"
_ROWS = 1_000
_DOCUMENTS = 20


class _Rows(NamedTuple):
    """Nodes or edges of one document, each with the reference to its source."""

    rows: list[Any]
    references: dict[Any, str]
    pipeline_run_id: str | None


def install() -> None:
    """Join writes from now on; calling it again changes nothing."""
    if hasattr(LadybugAdapter.add_nodes, "__wrapped__"):
        return
    LadybugAdapter.add_nodes = _joined_rows(
        LadybugAdapter.add_nodes, _node_key, lambda graph: graph.attach_node_source_refs, lambda key: key
    )
    LadybugAdapter.add_edges = _joined_rows(
        LadybugAdapter.add_edges, _edge_key, lambda graph: graph.attach_edge_source_refs, lambda key: EdgeIdentity(*key)
    )
    LanceDBAdapter.create_data_points = _joined_points(LanceDBAdapter.create_data_points)
    LanceDBAdapter.embed_data = _in_batches(LanceDBAdapter.embed_data)


def _node_key(node: Any) -> str:
    return str(node.id)


def _edge_key(edge: Any) -> tuple[str, str, str]:
    return str(edge[0]), str(edge[1]), str(edge[2])


def _joined_rows(
    add: Method, key_of: Callable[[Any], Hashable], attach: Callable[[Any], Method], identity: Callable[[Any], Any]
) -> Method:
    async def write(graph: Any, calls: list[_Rows]) -> None:
        if len(calls) == 1:
            await add(graph, calls[0].rows, calls[0].references, calls[0].pipeline_run_id)
            return
        for run in dict.fromkeys(call.pipeline_run_id for call in calls):
            of_run = [call for call in calls if call.pipeline_run_id == run]
            # As one after another would: the last one's properties count.
            rows = {key_of(row): row for call in of_run for row in call.rows}
            references = _references(of_run, rows)
            await add(graph, list(rows.values()), {key: found[0] for key, found in references.items()}, run)
            # A row takes one reference as it is written; those of other documents that share it are attached.
            shared: dict[tuple[str, ...], list[Any]] = {}
            for key, found in references.items():
                if found[1:]:
                    shared.setdefault(tuple(found[1:]), []).append(identity(key))
            for others, keys in shared.items():
                await attach(graph)(keys, list(others), run)

    @wraps(add)
    async def joined(self: Any, rows: Any, source_ref_key: Any = None, pipeline_run_id: str | None = None) -> None:
        if not rows or not isinstance(source_ref_key, dict):
            await add(self, rows, source_ref_key, pipeline_run_id)
            return
        writes = _of(self, add.__name__, lambda: Joined(lambda calls: write(self, calls), limit=_DOCUMENTS))
        await writes([_Rows(rows, source_ref_key, pipeline_run_id)])

    return joined


def _references(calls: Iterable[_Rows], rows: dict[Any, Any]) -> dict[Any, list[str]]:
    """Every source of each row, each once, in the order of the documents."""
    found: dict[Any, list[str]] = {key: [] for key in rows}
    for call in calls:
        for key, reference in call.references.items():
            if key in found and reference not in found[key]:
                found[key].append(reference)
    return found


def _joined_points(upsert: Method) -> Method:
    @wraps(upsert)
    async def create_data_points(self: Any, collection_name: str, data_points: list[Any]) -> None:
        # The upsert itself unites rows of one id within a call as it does across calls.
        writes = _of(
            self, collection_name, lambda: Joined(lambda points: upsert(self, collection_name, points), limit=_ROWS)
        )
        await writes(data_points)

    return create_data_points


def _in_batches(embed: Method) -> Method:
    @wraps(embed)
    async def embed_data(self: Any, data: list[str]) -> list[list[float]]:
        # What is joined is more than the model takes at once.
        size = self.embedding_engine.get_batch_size()
        batches = [data[start : start + size] for start in range(0, len(data), size)]
        vectors = await asyncio.gather(*(embed(self, batch) for batch in batches))
        return [vector for batch in vectors for vector in batch]

    return embed_data


def _of(adapter: Any, name: str, make: Callable[[], Joined[Any]]) -> Joined[Any]:
    joined: dict[str, Joined[Any]] = vars(adapter).setdefault(_JOINED, {})
    if name not in joined:
        joined[name] = make()
    return joined[name]
