"""Proves that each persisted turn is in the dataset once, and is found: `session-memory verify`.

The ledger and cognee's rows say which turns are in which documents. Each is looked for in its document's file, in the
chunks of the graph, and by a search for the words of its chunk.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.vector import get_vector_engine

from session_memory import dataset_hold, document, ledger, ledger_index
from session_memory.errors import LedgerUnreadable
from session_memory.foreign import ForeignDocuments, locations_of, read_text
from session_memory.holdings import HeldSession, HeldWindow
from session_memory.models import Target, TurnRef
from session_memory.settings import Settings
from session_memory.verify_report import Problem, TurnProblem, VerifyReport

#: Documents looked at under one hold of the dataset: writers are let in between.
_PAGE = 50
#: cognee's collection of the chunks' vectors.
_CHUNKS = "DocumentChunk_text"
#: A chunk is found when it is among so many that are nearest to its own words.
_NEAREST = 10


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A chunk of a document, as the graph holds it."""

    id: str
    text: str


@dataclass(kw_only=True)
class _Findings:
    """What was looked at, and what is wrong."""

    sessions: int = 0
    turns: int = 0
    documents: int = 0
    chunks: int = 0
    turns_foreign: int = 0
    turns_pending: int = 0
    problems: list[TurnProblem] = field(default_factory=list)


async def verify(
    target: Target, session_ids: list[str] | None, settings: Settings, *, done: Callable[[int], None] | None = None
) -> VerifyReport:
    """Look for every persisted turn. Writes nothing to the dataset.

    Args:
        session_ids: only these; None for all of the user's that the ledger holds for the dataset.
        done: told how many documents are done.

    Raises:
        LedgerUnreadable: the ledger cannot be read for a session.
        DatasetBusy, GraphHeld: another process had the dataset for longer than the settings allow to wait.
    """
    started = time.monotonic()
    found = _Findings()
    foreign = ForeignDocuments(target)
    looked = 0
    async for page in _session_ids(target, session_ids):
        windows: list[HeldWindow] = []
        for session in (await ledger.sessions_in(target, page)).values():
            if isinstance(session, LedgerUnreadable):
                raise session
            windows += _to_look_at(session, found)
        for start in range(0, len(windows), _PAGE):
            group = windows[start : start + _PAGE]
            hold = dataset_hold.hold(target, holder="verify", wait_seconds=settings.lock_wait_seconds)
            async with hold, set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
                await _look(target, group, foreign, found)
            looked += len(group)
            if done:
                done(looked)
    return VerifyReport(
        user=target.user_email,
        dataset=target.dataset_name,
        **{**vars(found), "problems": tuple(found.problems)},
        seconds=round(time.monotonic() - started, 3),
    )


def _to_look_at(session: HeldSession, found: _Findings) -> list[HeldWindow]:
    """The documents that hold turns of a session; counts what else there is, and what is held twice."""
    complete = [window for window in session.windows.values() if window.complete]
    held = Counter(turn.qa_id for window in complete for turn in window.turns)
    current = []
    for turn in session.turns.values():
        window = session.windows.get(turn.data_id) if turn.data_id else None
        if window is None:
            found.turns_foreign += 1
        elif window.complete:
            current.append(window)
            found.turns += 1
            if held[turn.qa_id] > 1:
                found.problems.append(_problem(window, turn.qa_id, Problem.TWICE))
        elif not window.forgotten:
            found.turns_pending += 1
    windows = list({window.data_id: window for window in current}.values())
    found.sessions += bool(windows)
    found.documents += len(windows)
    return windows


async def _look(target: Target, windows: Sequence[HeldWindow], foreign: ForeignDocuments, found: _Findings) -> None:
    texts = await texts_of(target, [window.data_id for window in windows])
    chunks = await chunks_of([window.data_id for window in windows])
    unfound = await _unfound([chunk for of_document in chunks.values() for chunk in of_document])
    for window in windows:
        found.chunks += len(chunks[window.data_id])
        text = texts.get(window.data_id)
        if text is None:
            found.problems += [_problem(window, turn.qa_id, Problem.NO_DOCUMENT) for turn in window.turns]
            continue
        in_graph = "".join(chunk.text for chunk in chunks[window.data_id])
        for turn in window.turns:
            problem = _wrong_with(turn, text, in_graph, chunks[window.data_id], unfound)
            if problem:
                found.problems.append(_problem(window, turn.qa_id, problem))
        copies = await foreign.stored(window.session_id, document.turns_of(text, window.turns), counted=Counter())
        found.problems += [_problem(window, qa_id, Problem.TWICE) for qa_id in sorted(copies)]


def _wrong_with(turn: TurnRef, text: str, in_graph: str, chunks: Sequence[Chunk], unfound: set[str]) -> Problem | None:
    """What is wrong with a turn; `in_graph` is the text of the document's chunks, joined."""
    if not document.says(text, turn):
        return Problem.DIFFERENT
    piece = _as_read(text[turn.span[0] : turn.span[1]])
    times = in_graph.count(piece)
    if not times:
        return Problem.NOT_IN_GRAPH
    if times > _as_read(text).count(piece):
        return Problem.TWICE
    start = in_graph.index(piece)
    if unfound & set(_overlapping(chunks, start, start + len(piece))):
        return Problem.NOT_FOUND
    return None


def _overlapping(chunks: Sequence[Chunk], start: int, end: int) -> Iterable[str]:
    """The chunks that hold a part of their joined text."""
    at = 0
    for chunk in chunks:
        if at < end and start < at + len(chunk.text):
            yield chunk.id
        at += len(chunk.text)


def _as_read(text: str) -> str:
    """A text as cognee reads it from a file, to cut it into chunks."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def texts_of(target: Target, data_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The stored documents, without those whose file cannot be read."""
    texts = {}
    for data_id, location in (await locations_of(target, data_ids)).items():
        try:
            texts[data_id] = await read_text(location)
        except (OSError, UnicodeError):
            continue
    return texts


async def chunks_of(data_ids: Sequence[UUID]) -> dict[UUID, list[Chunk]]:
    """The chunks of the graph that are parts of documents, in their order."""
    graph = await get_graph_engine()
    nodes, edges = await graph.get_neighborhood([str(one) for one in data_ids], depth=1, edge_types=["is_part_of"])
    by_id = {str(node_id): properties for node_id, properties in nodes}
    parts: dict[UUID, dict[str, tuple[int, str]]] = {data_id: {} for data_id in data_ids}
    for source, of, relation, *_ in edges:
        chunk = by_id.get(str(source), {})
        if relation == "is_part_of" and UUID(str(of)) in parts and chunk.get("type") == "DocumentChunk":
            parts[UUID(str(of))][str(source)] = (int(chunk.get("chunk_index") or 0), str(chunk.get("text") or ""))
    return {
        data_id: [Chunk(id=one, text=text) for one, (_, text) in sorted(of.items(), key=lambda item: item[1][0])]
        for data_id, of in parts.items()
    }


async def _unfound(chunks: Sequence[Chunk]) -> set[str]:
    """Those chunks that a search for their own words does not find."""
    if not chunks:
        return set()
    vectors = get_vector_engine()
    if not await vectors.has_collection(_CHUNKS):
        return {chunk.id for chunk in chunks}
    searches = await vectors.batch_search(_CHUNKS, [chunk.text for chunk in chunks], limit=_NEAREST)
    return {
        chunk.id
        for chunk, nearest in zip(chunks, searches, strict=True)
        if chunk.id not in {str(one.id) for one in nearest}
    }


async def _session_ids(target: Target, wanted: list[str] | None) -> AsyncIterator[list[str]]:
    if wanted is not None:
        yield list(dict.fromkeys(wanted))
        return
    async for page in ledger_index.sessions_of(target):
        yield page


def _problem(window: HeldWindow, qa_id: str, problem: Problem) -> TurnProblem:
    return TurnProblem(session_id=window.session_id, qa_id=qa_id, data_id=window.data_id, problem=problem)
