"""Makes a picture of what a run added: chooses what a page can show, and says what it leaves out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from session_memory.holdings import HeldSession, HeldWindow
from session_memory.ledger_schema import State
from session_memory.models import Receipt, TurnRef
from session_memory.picture import words
from session_memory.picture.additions import Additions, Entity, StoredDocument, TurnKey
from session_memory.picture.picture import Kind, Link, Node, Picture

#: Nodes on a page: more would neither open at once nor be read.
NODES = 500
#: The part of them that sessions, documents and turns may take.
_FOR_TURNS = 0.6


def compose(
    additions: Additions, held: Mapping[str, HeldSession], receipts: Sequence[Receipt], *, limit: int = NODES
) -> Picture:
    """The picture of what a run added.

    Args:
        held: what the ledger holds of the sessions, where it can be read: which turn of its session a turn is, and
            what was in the dataset before.
        receipts: of all that the run stored, also before it was interrupted and taken up again.
        limit: nodes shown at most, at least one document's whatever it takes.
    """
    documents = _first(additions.documents.values(), int(limit * _FOR_TURNS))
    nodes: list[Node] = []
    places: dict[TurnKey | str, int] = {}
    of_run = {*additions.documents, *additions.unread, *(receipt.data_id for receipt in receipts)}
    for session_id, of_session in _by_session(documents).items():
        windows = held[session_id].windows if session_id in held else {}
        before = {
            data_id: window
            for data_id, window in windows.items()
            if data_id not in of_run
            and (window.complete or (window.state == State.SUPERSEDED and window.seen_complete))
        }
        numbers = _numbers(windows.values(), of_session)
        _add_session(nodes, places, session_id, of_session, numbers, before)
    left = max(limit - len(nodes), 0)
    links: list[Link] = []
    entities = _best(additions, {document.data_id for document in documents})
    for entity_id in entities[:left]:
        places[entity_id] = len(nodes)
        entity = additions.entities[entity_id]
        links += [Link(place, len(nodes)) for place in _naming(entity, places)]
        nodes.append(
            Node(
                kind=Kind.ENTITY,
                name=entity.name,
                added=entity.added,
                type=entity.type,
                note=entity.description,
            )
        )
    links += [
        Link(places[source], places[target], name, added)
        for (source, target, name), added in additions.relations.items()
        if source in places and target in places
    ]
    types = Counter(node.type for node in nodes if node.kind is Kind.ENTITY)
    shown = Counter(node.kind.value for node in nodes) + Counter(relation=sum(bool(link.name) for link in links))
    return Picture(
        nodes=tuple(nodes),
        links=tuple(links),
        types=tuple((name, count, additions.types.get(name, False)) for name, count in types.most_common()),
        summary=words.summary(additions),
        left_out=tuple(words.left_out(additions, shown, sum(receipt.turns for receipt in receipts))),
    )


def _first(documents: Iterable[StoredDocument], limit: int) -> list[StoredDocument]:
    """As many whole documents as fit, with their sessions and turns; at least one."""
    chosen: list[StoredDocument] = []
    sessions: set[str] = set()
    taken = 0
    for document in documents:
        taken += 1 + len(document.turns) + (document.session_id not in sessions)
        if chosen and taken > limit:
            break
        chosen.append(document)
        sessions.add(document.session_id)
    return chosen


def _by_session(documents: Iterable[StoredDocument]) -> dict[str, list[StoredDocument]]:
    found: dict[str, list[StoredDocument]] = {}
    for document in documents:
        found.setdefault(document.session_id, []).append(document)
    return found


def _add_session(
    nodes: list[Node],
    places: dict[TurnKey | str, int],
    session_id: str,
    documents: Sequence[StoredDocument],
    numbers: Mapping[str, int],
    before: Mapping[UUID, HeldWindow],
) -> None:
    """Add a session's nodes; `before` is what of it was in the dataset before this run."""
    session = len(nodes)
    note = "Turns of it were in the graph before." if before else ""
    nodes.append(Node(kind=Kind.SESSION, name=session_id, added=not before, note=note))
    stored_before = {(turn.qa_id, turn.hash) for window in before.values() for turn in window.turns}
    for document in sorted(documents, key=lambda document: _first_time(document.turns)):
        places[str(document.data_id)] = at = len(nodes)
        note = "It takes the place of an earlier document: a turn was edited." if document.replaces in before else ""
        nodes.append(Node(kind=Kind.DOCUMENT, name=str(document.data_id), added=True, parent=session, note=note))
        for turn in document.turns:
            places[document.data_id, turn.qa_id] = len(nodes)
            nodes.append(
                Node(
                    kind=Kind.TURN,
                    name=f"turn {numbers[turn.qa_id]}",
                    added=(turn.qa_id, turn.hash) not in stored_before,
                    parent=at,
                    note=_when(turn.time),
                )
            )


def _numbers(windows: Iterable[HeldWindow], documents: Iterable[StoredDocument]) -> dict[str, int]:
    """Which turn of its session each turn is, by the time it was said; from 1."""
    turns = [turn for document in documents for turn in document.turns]
    turns += [turn for window in windows if window.state != State.SUPERSEDED for turn in window.turns]
    ordered = dict.fromkeys(turn.qa_id for turn in sorted(turns, key=lambda turn: turn.time))
    return {qa_id: number for number, qa_id in enumerate(ordered, start=1)}


def _first_time(turns: Sequence[TurnRef]) -> str:
    return turns[0].time if turns else ""


def _when(time: str) -> str:
    """A time as cognee wrote it, in minutes of UTC; empty when it is none."""
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        return ""
    return f"{at.astimezone(UTC) if at.tzinfo else at:%Y-%m-%d %H:%M}"


def _best(additions: Additions, documents: set[UUID]) -> list[str]:
    """The entities of documents, those with the most lines first, of equals those that were added."""
    degree = Counter(end for source, target, _ in additions.relations for end in (source, target))

    def rank(entity_id: str) -> tuple[int, bool, str]:
        entity = additions.entities[entity_id]
        return -degree[entity_id] - len(entity.turns or entity.documents), not entity.added, entity.name

    return sorted((key for key, entity in additions.entities.items() if entity.documents & documents), key=rank)


def _naming(entity: Entity, places: Mapping[TurnKey | str, int]) -> list[int]:
    """What names an entity: the turns in whose text its name stands, and documents none of whose turns does."""
    by_turns = {data_id for data_id, _ in entity.turns}
    keys: list[TurnKey | str] = [*entity.turns, *(str(data_id) for data_id in entity.documents - by_turns)]
    return sorted(places[key] for key in keys if key in places)
