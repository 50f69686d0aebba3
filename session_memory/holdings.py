"""What the ledger holds of a session, and what a plan changes in it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from session_memory.document import Document
from session_memory.ledger_schema import State
from session_memory.models import TurnRef


@dataclass(frozen=True, kw_only=True)
class HeldWindow:
    """A window of the ledger, with what cognee's rows say of it."""

    data_id: UUID
    session_id: str
    state: State
    text: str | None
    turns: tuple[TurnRef, ...]
    node_set: tuple[str, ...]
    replaces: UUID | None
    attempts: int
    error_code: str | None
    #: The dataset has a document of this id, finished or not.
    written: bool
    #: cognee finished the document: it is in the graph.
    complete: bool
    #: It was in this dataset once.
    seen_complete: bool
    #: No run has seen it in the dataset yet: it is not there, or a killed run, or cognee's own, put it there.
    unsettled: bool = False

    @property
    def forgotten(self) -> bool:
        """It was in the dataset and somebody removed it: it stays removed."""
        return self.seen_complete and not self.written

    @property
    def pending(self) -> bool:
        """It is still to be committed."""
        return self.state == State.PLANNED and not self.complete and not self.forgotten


@dataclass(frozen=True, kw_only=True)
class HeldTurn:
    """A turn of the ledger."""

    qa_id: str
    hash: str
    #: None: cognee's own path had stored it.
    data_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class HeldSession:
    """All the ledger holds of one session in one dataset."""

    windows: dict[UUID, HeldWindow]
    turns: dict[str, HeldTurn]


@dataclass(frozen=True, kw_only=True)
class NewWindow:
    """A window to freeze."""

    data_id: UUID
    document: Document
    node_set: tuple[str, ...]
    replaces: UUID | None = None
    #: How many things of each kind were masked in it.
    masked: Mapping[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class Changes:
    """What a plan changes in the ledger, all of it or nothing."""

    windows: list[NewWindow] = field(default_factory=list)
    #: Windows whose turns are held by others from now on.
    supersedes: set[UUID] = field(default_factory=set)
    #: Turns cognee's own path had stored: qa_id to hash.
    foreign: dict[str, str] = field(default_factory=dict)
    #: What the turns above are held as now, for those the ledger knows.
    known: dict[str, HeldTurn] = field(default_factory=dict)

    @property
    def masked(self) -> dict[str, int]:
        """How many things of each kind are masked in the windows."""
        return dict(sum((Counter(window.masked) for window in self.windows), Counter[str]()))

    def __bool__(self) -> bool:
        return bool(self.windows or self.supersedes or self.foreign)
