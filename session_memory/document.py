"""A window as a document: its turns' text, its immutable id, the metadata the ledger can be rebuilt from."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from pydantic import BaseModel, Field

from session_memory.models import TurnRef
from session_memory.redaction import Redact

#: Marks a document as ours, in `external_metadata`.
MARKER = "session_memory"
SCHEMA = 1

_NAMESPACE = UUID("6d1f2f0e-5f0c-5c39-9d0c-0c5a3d1b7e11")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One question and its answer as they stand in a document; stays inside this package."""

    qa_id: str
    #: Of what the cache held, masked or not.
    hash: str
    time: str
    text: str
    #: How many things of each kind were masked in it just now; empty when it was read from a document.
    masked: Mapping[str, int] = field(default_factory=dict)

    @property
    def bare_text(self) -> str:
        """The form in which cognee's own pipeline writes it."""
        return self.text.removeprefix(_time(self.time))


@dataclass(frozen=True, kw_only=True)
class CachedTurn:
    """One question and its answer as they were said; stays in memory. Only its `redacted` turn is ever written."""

    qa_id: str
    hash: str
    time: str
    question: str
    answer: str

    @classmethod
    def of(cls, *, qa_id: str | None, question: str, answer: str, time: str) -> "CachedTurn":
        """The turn of a cached entry; an entry without an id is named by its content and time."""
        digest = hash_of(question, answer)
        return cls(qa_id=qa_id or f"{digest[:32]}@{time}", hash=digest, time=time, question=question, answer=answer)

    @property
    def text(self) -> str:
        """As it would stand in a document with nothing masked."""
        return _time(self.time) + self.bare_text

    @property
    def bare_text(self) -> str:
        """The form in which cognee's own pipeline writes it."""
        return question_and_answer(self.question, self.answer)

    def redacted(self, redact: Redact | None) -> Turn:
        """The turn as it is written.

        Raises:
            RedactionFailed: `redact` did.
        """
        if redact is None:
            return Turn(qa_id=self.qa_id, hash=self.hash, time=self.time, text=self.text)
        question, answer = redact(self.question), redact(self.answer)
        return Turn(
            qa_id=self.qa_id,
            hash=self.hash,
            time=self.time,
            text=_time(self.time) + question_and_answer(question.text, answer.text),
            masked=Counter(question.counts) + Counter(answer.counts),
        )


@dataclass(frozen=True, kw_only=True)
class CachedSession:
    """A session as the cache holds it now; without turns when it expired or never was."""

    session_id: str
    turns: tuple[CachedTurn, ...]
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


def hashes_in(text: str) -> Counter[str]:
    """The hashes of the turns in a document of cognee's own session pipeline, and how often each is there."""
    found = Counter[str]()
    for turn in re.split(r"(?<=\n\n)Question: ", text)[1:]:
        question, _, answer = turn.partition("\n\nAnswer: ")
        found[hash_of(question, answer.removesuffix("\n\n"))] += 1
    return found


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


def says(text: str, ref: TurnRef) -> bool:
    """Whether a document's text holds, where a turn is to stand, what was written there."""
    piece = text[ref.span[0] : ref.span[1]]
    return len(piece) == ref.span[1] - ref.span[0] and ref.text_hash in {None, text_hash(piece)}


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
