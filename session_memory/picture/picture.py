"""What a page shows of what one run added to a graph."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a node of the picture is."""

    SESSION = "session"
    DOCUMENT = "document"
    TURN = "turn"
    ENTITY = "entity"


@dataclass(frozen=True, kw_only=True)
class Node:
    """Something drawn; others name it by its place in `Picture.nodes`."""

    kind: Kind
    name: str
    #: Whether this run added it; else it was in the graph before.
    added: bool
    #: The session of a document, the document of a turn.
    parent: int | None = None
    #: Of an entity.
    type: str = ""
    #: Of an entity its description, of a turn when it was said, of the others what is worth knowing.
    note: str = ""


@dataclass(frozen=True)
class Link:
    """A line from one node to another."""

    source: int
    target: int
    #: Of a relation between entities; empty where a turn or a document names an entity.
    name: str = ""
    added: bool = True


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a page shows."""

    #: Each session is followed by its documents, each of these by its turns; the entities come last.
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    #: Types of the entities that are shown: name, how many, whether this run added the type; the most frequent first.
    types: tuple[tuple[str, int, bool], ...]
    #: What the run added, in a sentence.
    summary: str
    #: What is not shown of it, in a sentence each.
    left_out: tuple[str, ...]
