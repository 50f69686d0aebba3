"""Joins what documents ask of cognee's embedded stores.

cognee stores each document by itself: up to five statements and five checkpoints of the graph and seven writes to the
vector store, each under a lock, and most reading the whole table. Those of documents that are ready at the same time
become one each. A document whose part cannot be written fails alone, as before.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from cognee.infrastructure.databases.graph.ladybug.adapter import LadybugAdapter
from cognee.infrastructure.databases.provenance import EdgeIdentity
from cognee.infrastructure.databases.provenance.source_ref_state import provenance_after_attach
from cognee.infrastructure.databases.vector.lancedb.LanceDBAdapter import LanceDBAdapter

from session_memory.joining import Joined

Method = Callable[..., Coroutine[Any, Any, Any]]
#: Adds sources to nodes or edges: the graph, the sources of each, the pipeline run.
Attach = Callable[[Any, dict[Any, list[str]], str | None], Coroutine[Any, Any, None]]

#: Where an adapter keeps what joins its writes.
_JOINED = "_session_memory_joined"
_ROWS = 1_000
_DOCUMENTS = 20


class _Rows(NamedTuple):
    """Nodes or edges of one document, each with the reference to its source."""

    rows: list[Any]
    references: dict[Any, str]
    pipeline_run_id: str | None


class _Sources(NamedTuple):
    """References to sources, for each of some nodes or edges."""

    rows: list[Any]
    references: list[str]
    pipeline_run_id: str | None


@dataclass(eq=False)
class _Lookup:
    """Edges to look for, and those that are in the graph."""

    edges: list[Any]
    found: list[Any] = field(default_factory=list)


#: Whether what is written now is followed by more that makes both durable.
_more_follows: ContextVar[bool] = ContextVar("more_follows", default=False)


def install() -> None:
    """Join writes from now on; calling it again changes nothing."""
    if hasattr(LadybugAdapter.add_nodes, "__wrapped__"):
        return
    LadybugAdapter.add_nodes = _joined_rows(LadybugAdapter.add_nodes, _node_key, str, _attach_to_nodes)
    LadybugAdapter.add_edges = _joined_rows(
        _with_text_ids(LadybugAdapter.add_edges), _edge_key, lambda key: EdgeIdentity(*key), _attach_to_edges
    )
    LadybugAdapter.attach_node_source_refs = _joined_sources(LadybugAdapter.attach_node_source_refs, _attach_to_nodes)
    LadybugAdapter.attach_edge_source_refs = _joined_sources(LadybugAdapter.attach_edge_source_refs, _attach_to_edges)
    LadybugAdapter.has_edges = _joined_lookups(LadybugAdapter.has_edges)
    LadybugAdapter.checkpoint = _unless_deferred(LadybugAdapter.checkpoint)
    for vectors in (LanceDBAdapter, *_pgvector()):
        vectors.create_data_points = _joined_points(vectors.create_data_points)
        vectors.embed_data = _in_batches(vectors.embed_data)


def _pgvector() -> Iterator[Any]:
    """pgvector's adapter, where the extra `postgres` is installed."""
    if find_spec("pgvector"):
        yield import_module("cognee.infrastructure.databases.vector.pgvector.PGVectorAdapter").PGVectorAdapter


def _node_key(node: Any) -> str:
    return str(node.id)


def _edge_key(edge: Any) -> tuple[str, str, str]:
    return str(edge[0]), str(edge[1]), str(edge[2])


async def _attach_to_nodes(graph: Any, sources: dict[Any, list[str]], run: str | None) -> None:
    await _attach(graph, sources, run, graph._read_node_provenance, graph._write_node_provenance, graph._node_row)


async def _attach_to_edges(graph: Any, sources: dict[Any, list[str]], run: str | None) -> None:
    await _attach(graph, sources, run, graph._read_edge_provenance, graph._write_edge_provenance, graph._edge_row)


async def _attach(
    graph: Any,
    sources: dict[Any, list[str]],
    run: str | None,
    read: Method,
    write: Method,
    row_of: Callable[[Any], Any],
) -> None:
    """The adapter's `attach_*_source_refs`, with references of each row's own: one read, one write, one checkpoint."""

    async def read_with_row(rows: list[Any]) -> dict[Any, tuple[Any, Any]]:
        return {row: (row, held) for row, held in (await read(rows)).items()}

    def attached(row: Any, held: tuple[list[str], list[str]]) -> Any:
        return provenance_after_attach(*held, sources[row], run)

    await graph._apply_source_ref_change(list(sources), read_with_row, write, row_of, attached)


def _joined_sources(attach_to_all: Method, attach: Attach) -> Method:
    async def write(graph: Any, calls: list[_Sources]) -> None:
        for run in dict.fromkeys(call.pipeline_run_id for call in calls):
            sources: dict[Any, dict[str, None]] = {}
            for call in calls:
                if call.pipeline_run_id == run:
                    for row in call.rows:
                        sources.setdefault(row, {}).update(dict.fromkeys(call.references))
            await attach(graph, {row: list(references) for row, references in sources.items()}, run)

    @wraps(attach_to_all)
    async def joined(self: Any, rows: Any, source_ref_keys: Any, pipeline_run_id: str | None = None) -> None:
        if rows and source_ref_keys:
            name = attach_to_all.__name__
            await _of(self, name, write)([_Sources(list(rows), list(source_ref_keys), pipeline_run_id)])

    return joined


def _with_text_ids(add_edges: Method) -> Method:
    @wraps(add_edges)
    async def with_text_ids(self: Any, edges: list[Any], *args: Any) -> None:
        # cognee hands UUIDs over; Ladybug then does not find the nodes by their index, and is five times slower.
        await add_edges(self, [(str(edge[0]), str(edge[1]), *edge[2:]) for edge in edges], *args)

    return with_text_ids


def _joined_rows(
    add: Method, key_of: Callable[[Any], Hashable], identity: Callable[[Any], Any], attach: Attach
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
            # A row takes one reference as it is written; those of other documents that share it are attached.
            shared = {identity(key): found[1:] for key, found in references.items() if found[1:]}
            more = _more_follows.set(bool(shared))
            try:
                await add(graph, list(rows.values()), {key: found[0] for key, found in references.items()}, run)
            finally:
                _more_follows.reset(more)
            await attach(graph, shared, run)

    @wraps(add)
    async def joined(self: Any, rows: Any, source_ref_key: Any = None, pipeline_run_id: str | None = None) -> None:
        if not rows or not isinstance(source_ref_key, dict):
            await add(self, rows, source_ref_key, pipeline_run_id)
            return
        await _of(self, add.__name__, write)([_Rows(rows, source_ref_key, pipeline_run_id)])

    return joined


def _references(calls: Iterable[_Rows], rows: dict[Any, Any]) -> dict[Any, list[str]]:
    """Every source of each row, each once, in the order of the documents."""
    found: dict[Any, list[str]] = {key: [] for key in rows}
    for call in calls:
        for key, reference in call.references.items():
            if key in found and reference not in found[key]:
                found[key].append(reference)
    return found


def _unless_deferred(checkpoint: Method) -> Method:
    @wraps(checkpoint)
    async def unless_deferred(self: Any) -> None:
        if not _more_follows.get():
            await checkpoint(self)

    return unless_deferred


def _joined_lookups(has_edges: Method) -> Method:
    async def look(graph: Any, lookups: list[_Lookup]) -> None:
        wanted = dict.fromkeys(_edge_key(edge) for lookup in lookups for edge in lookup.edges)
        found = set(await has_edges(graph, list(wanted)))
        for lookup in lookups:
            lookup.found = [_edge_key(edge) for edge in lookup.edges if _edge_key(edge) in found]

    @wraps(has_edges)
    async def joined(self: Any, edges: list[Any]) -> list[Any]:
        lookup = _Lookup(edges)
        await _of(self, has_edges.__name__, look)([lookup])
        return lookup.found

    return joined


def _joined_points(upsert: Method) -> Method:
    @wraps(upsert)
    async def create_data_points(self: Any, collection_name: str, data_points: list[Any]) -> None:
        async def write(vectors: Any, points: list[Any]) -> None:
            # The upsert itself unites rows of one id within a call as it does across calls.
            await upsert(vectors, collection_name, points)

        await _of(self, collection_name, write, limit=_ROWS)(data_points)

    return create_data_points


def _in_batches(embed: Method) -> Method:
    @wraps(embed)
    async def embed_data(self: Any, data: list[str]) -> list[list[float]]:
        # What is joined says much twice, and is more than the model takes at once. Texts of a length go together: the
        # shorter ones of a batch are filled up to the longest.
        texts = sorted(set(data), key=len)
        size = self.embedding_engine.get_batch_size()
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        vectors = await asyncio.gather(*(embed(self, batch) for batch in batches))
        vector_of = dict(zip(texts, (vector for batch in vectors for vector in batch), strict=True))
        return [vector_of[text] for text in data]

    return embed_data


def _of(adapter: Any, name: str, write: Method, *, limit: int = _DOCUMENTS) -> Joined[Any]:
    """What joins the calls of a name to an adapter; `write` takes the adapter and what was joined."""
    joined: dict[str, Joined[Any]] = vars(adapter).setdefault(_JOINED, {})
    if name not in joined:
        joined[name] = Joined(lambda calls: write(adapter, calls), limit=limit)
    return joined[name]
