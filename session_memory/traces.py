"""What the documents of a pipeline run put into the graph, or met there: cognee's provenance says it."""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.provenance import EdgeIdentity, get_data_id_from_source_ref_key

from session_memory.models import Target


@dataclass(frozen=True)
class Traces:
    """Nodes and edges of the graph, each with those documents of one run that state it."""

    nodes: dict[str, set[UUID]] = field(default_factory=dict)
    edges: dict[EdgeIdentity, set[UUID]] = field(default_factory=dict)

    def counts(self) -> dict[UUID, tuple[int, int]]:
        """How many nodes and edges each document added or touched."""
        nodes = Counter(data_id for documents in self.nodes.values() for data_id in documents)
        edges = Counter(data_id for documents in self.edges.values() for data_id in documents)
        return {data_id: (nodes[data_id], edges[data_id]) for data_id in nodes | edges}


async def traces_of(target: Target, run_id: UUID) -> Traces:
    """What a pipeline run left in the dataset's graph."""
    async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
        graph = await get_graph_engine()
        nodes = await graph.find_node_source_refs_by_pipeline_run(str(run_id))
        edges = await graph.find_edge_source_refs_by_pipeline_run(str(run_id))
    return Traces(
        nodes={node_id: documents_of(references) for node_id, references in nodes.items()},
        edges={edge: documents_of(references) for edge, references in edges.items()},
    )


def documents_of(references: list[str]) -> set[UUID]:
    """The documents that references to sources name."""
    return {get_data_id_from_source_ref_key(reference) for reference in references}
