"""What passes between the steps, and through Prefect: ids, hashes, counts and times, never conversation text."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(Frozen):
    """Whose sessions go where."""

    #: The sessions' owner; cognee keys sessions by this id.
    user_id: UUID
    user_email: str
    #: Under whose permission it is written: the owner's, or a service account's.
    writer_id: UUID
    writer_email: str
    dataset_id: UUID
    dataset_name: str
    #: Where the dataset's stores live, which may be somebody else's account.
    dataset_owner_id: UUID


class TurnRef(Frozen):
    """One turn as it is named in the ledger and in a document's metadata."""

    qa_id: str
    #: SHA-256 of question and answer only: feedback and metadata change all the time and are no edit.
    hash: str
    #: When the turn was cached, as cognee wrote it (ISO 8601).
    time: str
    #: Where the turn's text stands in its document, in characters from the start.
    span: tuple[int, int]
    #: SHA-256 of that text, masked or not; None in documents of before it was noted.
    text_hash: str | None = None


class Window(Frozen):
    """A capped run of turns of one session, planned as one document of the graph."""

    data_id: UUID
    session_id: str
    turns: int
    #: The window this one takes the place of (edited turns, or a refused window that was split).
    replaces: UUID | None = None
    #: Refused before and tried again on its own.
    quarantined: bool = False
    #: It failed in an earlier run, perhaps for a reason that lies in it: tried after those that did not.
    failed_before: bool = False


class Outcome(StrEnum):
    """What became of a session in a run."""

    #: Everything of it that was pending is in the graph.
    PERSISTED = "persisted"
    #: Everything of it was in the graph already, or was forgotten on purpose.
    NOTHING_NEW = "nothing_new"
    #: Neither the cache nor the ledger knows it.
    NOT_FOUND = "not_found"
    #: The LLM refused a turn of it; the rest is in the graph.
    QUARANTINED = "quarantined"
    #: Something of it is still pending; the next run takes it up.
    FAILED = "failed"
    #: The run's budget was spent before all of it was in the graph; the next run takes it up.
    PENDING = "pending"
    #: Handed to a run in the background.
    SUBMITTED = "submitted"


class SessionPlan(Frozen):
    """One session as extraction left it."""

    session_id: str
    #: Turns in the cache; 0 when it expired.
    cached_turns: int = 0
    #: Whether the cache or the ledger knows the session.
    known: bool = True
    #: What is to be committed, oldest first.
    windows: tuple[Window, ...] = ()
    #: Old windows whose replacements are in the graph and which are still there themselves.
    leftovers: tuple[UUID, ...] = ()
    #: Turns that cognee's own path had stored in this dataset.
    foreign_turns: int = 0
    #: Turns refused before this run that are not tried in it.
    quarantined_turns: int = 0
    #: How many things of each kind were masked in what was frozen just now.
    masked: dict[str, int] = {}
    error_code: str | None = None
    error: str | None = None


class Pending(Frozen):
    """What of a session is not in a dataset yet."""

    turns: int
    #: Those of them that were refused before and are tried again.
    turns_quarantined: int
    #: Documents that writing it takes.
    windows: int
    #: When the oldest of those turns was cached, and the newest turn of the session.
    oldest_turn_at: datetime | None
    last_turn_at: datetime | None
    #: Whether some of it stands in the cache alone, and is lost when that expires.
    only_cached: bool


class Extraction(Frozen):
    """What `extract_user_sessions` returns: everything pending, frozen in the ledger."""

    sessions: tuple[SessionPlan, ...] = ()
    #: Documents of the dataset that the ledger had lost and now knows again.
    adopted_documents: int = 0

    @property
    def windows(self) -> list[Window]:
        """All windows to commit: those that never failed, those that did, the quarantined."""
        found = [window for session in self.sessions for window in session.windows]
        return sorted(found, key=lambda window: (window.quarantined, window.failed_before))


class Receipt(Frozen):
    """What `cognify_session` returns: the window is in the dataset."""

    data_id: UUID
    session_id: str
    turns: int
    #: Nodes and edges this window's document added or touched.
    nodes: int = 0
    edges: int = 0
