"""What the commits of one run put into the graph, read from it while the dataset is still theirs."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.graph import get_graph_engine

from session_memory.document import turns_of
from session_memory.failures import told_of
from session_memory.holdings import HeldWindow
from session_memory.models import Target, TurnRef
from session_memory.traces import Traces, documents_of

#: Nodes that hold the conversation's text; of the set that all sessions are in, everything is a member.
_TEXTS = ("DocumentChunk", "TextSummary")
_NOT_DRAWN = (*_TEXTS, "TextDocument", "NodeSet")
_ENTITY, _TYPE = "Entity", "EntityType"
_IS_A = "is_a"

#: What a name and a description may take, in characters.
_NAME = 80
_DESCRIPTION = 300

#: With so many documents or entities no more are read: no page shows more than a part of them.
_ENOUGH_DOCUMENTS = 1_000
_ENOUGH_ENTITIES = 5_000
#: Seconds a commit may spend on reading, while others wait for the dataset.
_PATIENCE_SECONDS = 20.0

#: A turn: its document, and its id in the session.
TurnKey = tuple[UUID, str]


@dataclass(frozen=True, kw_only=True)
class StoredDocument:
    """A document that this run put into the graph."""

    data_id: UUID
    session_id: str
    turns: tuple[TurnRef, ...]
    #: The window whose turns it holds now: one of them was edited, or refused.
    replaces: UUID | None


@dataclass(kw_only=True)
class Entity:
    """An entity that this run's documents state."""

    name: str
    #: Empty where it quotes the conversation.
    description: str
    #: Whether no other document had stated it.
    added: bool
    type: str = ""
    documents: set[UUID] = field(default_factory=set)
    #: Turns in whose text the name stands.
    turns: set[TurnKey] = field(default_factory=set)


class Additions:
    """Collects what each commit added or touched. What was there before the run's first look at it stays so."""

    def __init__(self) -> None:
        self.documents: dict[UUID, StoredDocument] = {}
        #: By the id of the node.
        self.entities: dict[str, Entity] = {}
        #: The name of each type, and whether this run added it.
        self.types: dict[str, bool] = {}
        #: Source, target and name, and whether this run added it.
        self.relations: dict[tuple[str, str, str], bool] = {}
        #: Chunks and summaries.
        self.texts = 0
        #: Documents that were not looked at, because there was enough already, with their turns.
        self.unread: dict[UUID, int] = {}
        #: Why something could not be read, in words that quote nothing.
        self.failure: str | None = None

    async def read(self, target: Target, windows: Iterable[HeldWindow], complete: set[UUID], traces: Traces) -> None:
        """Read what a commit left in the graph. Raises nothing: no picture is worth a turn.

        Args:
            windows: what was committed, with its text where that is still held.
            complete: those of them that are in the graph.
            traces: what they left there.
        """
        stored = {window.data_id: window for window in windows if window.data_id in complete}
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._read(target, stored, traces)
        except Exception as error:  # noqa: BLE001 - whatever the graph raises
            self.failure = told_of(error)

    async def _read(self, target: Target, stored: Mapping[UUID, HeldWindow], traces: Traces) -> None:
        of_node = {node_id: of & stored.keys() for node_id, of in traces.nodes.items() if of & stored.keys()}
        written = set[UUID]().union(*of_node.values())
        if not written:
            return
        if len(self.documents) >= _ENOUGH_DOCUMENTS or len(self.entities) >= _ENOUGH_ENTITIES:
            self.unread |= {data_id: len(stored[data_id].turns) for data_id in written}
            return
        self.documents |= {data_id: _document(stored[data_id]) for data_id in stored if data_id in written}
        async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
            graph = await get_graph_engine()
            found = await graph.get_node_delete_data(list(of_node))
            nodes = {node_id: found[node_id] for node_id in of_node if node_id in found}
            self._note_nodes(nodes, of_node, _texts(nodes, of_node))
            self._note_turns(of_node, stored)
            await self._note_edges(graph, nodes, traces)

    def _note_nodes(
        self, nodes: Mapping[str, Any], of_node: Mapping[str, set[UUID]], texts: Mapping[UUID, str]
    ) -> None:
        for node_id, node in nodes.items():
            name = str(node.node_properties.get("name") or "")[:_NAME]
            # Its references name every document that states it: those of earlier runs, or ours alone.
            added = documents_of(node.source_ref_keys) <= self.documents.keys()
            if node.node_type == _TYPE:
                self.types.setdefault(name, added)
            elif node.node_type in _TEXTS:
                self.texts += 1
            elif node.node_type not in _NOT_DRAWN:
                description = str(node.node_properties.get("description") or "")
                if any(_plain(description) in texts.get(data_id, "") for data_id in of_node[node_id]):
                    description = ""
                known = self.entities.get(node_id)
                self.entities[node_id] = Entity(
                    name=name,
                    description=description[:_DESCRIPTION] or (known.description if known else ""),
                    # What an earlier commit of this run met there, it met.
                    added=known.added if known else added,
                    # What cognee finds itself, a date for one, has no node for its type.
                    type=known.type if known else "" if node.node_type == _ENTITY else str(node.node_type).lower(),
                    documents=of_node[node_id] | (known.documents if known else set()),
                    turns=known.turns if known else set(),
                )

    def _note_turns(self, of_node: Mapping[str, set[UUID]], stored: Mapping[UUID, HeldWindow]) -> None:
        said = {
            data_id: [(turn.qa_id, _plain(turn.text)) for turn in turns_of(window.text, window.turns)]
            for data_id, window in stored.items()
            if window.text is not None
        }
        for node_id in of_node.keys() & self.entities.keys():
            entity = self.entities[node_id]
            if not entity.name:
                continue
            word = re.compile(rf"(?<!\w){re.escape(_plain(entity.name))}(?!\w)")
            entity.turns |= {
                (data_id, qa_id)
                for data_id in of_node[node_id]
                for qa_id, text in said.get(data_id, ())
                if word.search(text)
            }

    async def _note_edges(self, graph: Any, nodes: Mapping[str, Any], traces: Traces) -> None:
        met = []
        for edge in traces.edges:
            source, target = self.entities.get(edge.source_id), self.entities.get(edge.target_id)
            if source and edge.relationship_name == _IS_A and nodes.get(edge.target_id):
                source.type = str(nodes[edge.target_id].node_properties.get("name") or "")[:_NAME]
            elif source and target:
                key = (edge.source_id, edge.target_id, edge.relationship_name[:_NAME])
                if source.added or target.added:
                    self.relations.setdefault(key, True)
                elif key not in self.relations:
                    met.append(edge)
        # Only between two entities that were there can a relation have been there.
        for edge, data in (await graph.get_edge_delete_data(met)).items() if met else ():
            added = documents_of(data.source_ref_keys) <= self.documents.keys()
            self.relations[edge.source_id, edge.target_id, edge.relationship_name[:_NAME]] = added


def _document(window: HeldWindow) -> StoredDocument:
    return StoredDocument(
        data_id=window.data_id,
        session_id=window.session_id,
        turns=window.turns,
        replaces=window.replaces,
    )


def _texts(nodes: Mapping[str, Any], of_node: Mapping[str, set[UUID]]) -> dict[UUID, str]:
    """What each document says, from its chunks."""
    parts: dict[UUID, list[str]] = {}
    for node_id, node in nodes.items():
        if node.node_type in _TEXTS:
            for data_id in of_node[node_id]:
                parts.setdefault(data_id, []).append(str(node.node_properties.get("text") or ""))
    return {data_id: _plain(" ".join(texts)) for data_id, texts in parts.items()}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
