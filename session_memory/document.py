"""A window as a document: its turns' text, its immutable id, the metadata the ledger can be rebuilt from."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from pydantic import BaseModel, Field

from session_memory.models import TurnRef

#: Marks a document as ours, in `external_metadata`.
MARKER = "session_memory"
SCHEMA = 1

_NAMESPACE = UUID("6d1f2f0e-5f0c-5c39-9d0c-0c5a3d1b7e11")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One question and its answer, with its text; stays inside this package."""

    qa_id: str
    hash: str
    time: str
    #: The turn as it stands in a document.
    text: str

    @classmethod
    def of(cls, *, qa_id: str | None, question: str, answer: str, time: str) -> "Turn":
        """The turn of a cached entry; an entry without an id is named by its content and time."""
        digest = hash_of(question, answer)
        return cls(
            qa_id=qa_id or f"{digest[:32]}@{time}",
            hash=digest,
            time=time,
            text=f"{_time(time)}{question_and_answer(question, answer)}",
        )

    @property
    def bare_text(self) -> str:
        """The form in which cognee's own pipeline writes it."""
        return self.text.removeprefix(_time(self.time))


@dataclass(frozen=True, kw_only=True)
class CachedSession:
    """A session as the cache holds it now; without turns when it expired or never was."""

    session_id: str
    turns: tuple[Turn, ...]
    #: The node set pinned to the session, added to the one all sessions get.
    node_set: tuple[str, ...]
    #: How many turns cognee's own path says it has stored: a hint, never evidence.
    watermark: int


@dataclass(frozen=True, kw_only=True)
class Document:
    """The text of a window, and where each turn stands in it."""

    text: str
    turns: tuple[TurnRef, ...]


def hash_of(question: str, answer: str) -> str:
    """SHA-256 of a turn's question and answer."""
    return hashlib.sha256(json.dumps([question, answer]).encode()).hexdigest()


def text_hash(text: str) -> str:
    """SHA-256 of a turn's text as it stands in its document."""
    # Half an emoji is no UTF-8, and a cache may hold one.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def question_and_answer(question: str, answer: str) -> str:
    """A turn's text in the form cognee's own session pipeline writes."""
    return f"Question: {question}\n\nAnswer: {answer}\n\n"


def _time(time: str) -> str:
    return f"Time: {time}\n\n"


def header(session_id: str) -> str:
    """How a session document begins, cognee's own too."""
    return f"Session ID: {session_id}\n\n"


def render(session_id: str, turns: list[Turn]) -> Document:
    """Turns, oldest first, as one document."""
    text = header(session_id)
    refs = []
    for turn in turns:
        start = len(text)
        text += turn.text
        refs.append(
            TurnRef(
                qa_id=turn.qa_id,
                hash=turn.hash,
                time=turn.time,
                span=(start, len(text)),
                text_hash=text_hash(turn.text),
            )
        )
    return Document(text=text, turns=tuple(refs))


def turns_of(text: str, refs: tuple[TurnRef, ...]) -> list[Turn]:
    """The turns of a rendered document, cut out of it where they stand."""
    return [Turn(qa_id=ref.qa_id, hash=ref.hash, time=ref.time, text=text[ref.span[0] : ref.span[1]]) for ref in refs]


def data_id(
    *, dataset_id: UUID, owner_id: UUID, session_id: str, turns: list[tuple[str, str]], replaces: UUID | None
) -> UUID:
    """The id of a window's document: uuid5 of what it is, so that a replay writes the same one.

    `turns` are (qa_id, hash) pairs. What it replaces counts, so that an edit taken back is a new document.
    """
    # JSON, because ids contain colons and joined strings collide.
    name = [str(dataset_id), str(owner_id), session_id, turns, str(replaces) if replaces else None]
    return uuid5(_NAMESPACE, json.dumps(name, ensure_ascii=False, separators=(",", ":")))


class Metadata(BaseModel):
    """What a document says of itself, in `external_metadata`: it reaches the TextDocument and DocumentChunk nodes,
    and is enough to rebuild the ledger from the dataset."""

    #: `MARKER`.
    schema_version: int = Field(default=SCHEMA, alias="session_memory")
    session_id: str
    owner_id: UUID
    turns: tuple[TurnRef, ...]
    replaces: UUID | None = None

    def dump(self) -> dict[str, Any]:
        """As `cognee.add` takes it."""
        return self.model_dump(mode="json", by_alias=True)
