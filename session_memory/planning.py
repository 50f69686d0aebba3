"""Decides, from what the cache and the ledger hold, which windows are to be frozen. No I/O."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from session_memory import document
from session_memory.document import CachedSession, CachedTurn, Turn
from session_memory.holdings import Changes, HeldSession, HeldTurn, HeldWindow, NewWindow
from session_memory.ledger_schema import State
from session_memory.models import Pending, SessionPlan, Target, Window
from session_memory.redaction import Redact
from session_memory.settings import Settings

#: cognee's own name for the node set that persisted sessions get (`cognee.modules.improve.constants`).
NODE_SET = "user_sessions_from_cache"

AnyTurn = TypeVar("AnyTurn", CachedTurn, Turn)


def unknown_turns(cached: CachedSession, held: HeldSession) -> list[CachedTurn]:
    """The cached turns that the ledger has not met."""
    return [turn for turn in cached.turns if turn.qa_id not in held.turns]


def unsettled_turns(cached: CachedSession, held: HeldSession) -> list[Turn]:
    """Turns of windows that an earlier run froze and did not finish, as they were frozen, but those edited since."""
    edited = {turn.qa_id for _, turns in _edited_windows(cached, held) for turn in turns}
    return [
        turn
        for window in held.windows.values()
        if window.unsettled and window.state != State.SUPERSEDED and window.text is not None
        for turn in document.turns_of(window.text, window.turns)
        if turn.qa_id not in edited
    ]


def plan(
    target: Target,
    cached: CachedSession,
    held: HeldSession,
    *,
    foreign: set[str],
    texts: dict[UUID, str],
    redact: Redact | None,
    settings: Settings,
) -> Changes:
    """What has to change in the ledger so that every cached turn is held by a window.

    Args:
        foreign: ids of unknown and of unsettled turns that cognee's own path has stored in the dataset.
        texts: the documents of edited windows whose frozen text is purged.
        redact: what the turns pass through that are to be frozen.

    Raises:
        RedactionFailed: `redact` did.
    """
    changes = Changes(known=held.turns)
    changes.foreign = {turn.qa_id: turn.hash for turn in unknown_turns(cached, held) if turn.qa_id in foreign}
    node_set = (NODE_SET, *(name for name in cached.node_set if name != NODE_SET))

    new = [turn for turn in unknown_turns(cached, held) if turn.qa_id not in foreign]
    current = {turn.qa_id: turn for turn in cached.turns}
    changed = dict(_edited_windows(cached, held))
    taken = {turn.qa_id: turn.hash for turn in unsettled_turns(cached, held) if turn.qa_id in foreign}
    for qa_id in taken:
        changed.setdefault(held.turns[qa_id].data_id, [])
    changes.foreign |= taken
    for data_id, edited in changed.items():
        window = held.windows.get(data_id) if data_id else None
        if window is None or window.forgotten:
            # Nothing else of that document is to come back with the edited turns.
            new += edited
            continue
        changes.supersedes.add(window.data_id)
        kept = texts.get(window.data_id) or window.text or ""
        turns = [
            _rewritten(turn, current.get(turn.qa_id), redact)
            for turn in document.turns_of(kept, window.turns)
            if turn.qa_id not in taken
        ]
        changes.windows += _windows(target, cached.session_id, turns, node_set, settings, replaces=window.data_id)
    order = {turn.qa_id: position for position, turn in enumerate(cached.turns)}
    new.sort(key=lambda turn: order[turn.qa_id])
    redacted = [turn.redacted(redact) for turn in new]
    changes.windows += _windows(target, cached.session_id, redacted, node_set, settings, replaces=None)
    return changes


def edited_and_purged(cached: CachedSession, held: HeldSession) -> list[UUID]:
    """Windows with an edited turn whose frozen text is gone, so that it must be read from the dataset."""
    windows = (held.windows.get(data_id) for data_id, _ in _edited_windows(cached, held) if data_id)
    return [window.data_id for window in windows if window is not None and window.text is None and not window.forgotten]


def split(target: Target, window: HeldWindow) -> Changes:
    """A refused window of several turns as windows of one turn each, so that only the poisoned one is set apart."""
    return _parted(target, window, [[turn] for turn in document.turns_of(window.text or "", window.turns)])


def without(target: Target, window: HeldWindow, text: str, qa_id: str) -> Changes:
    """One turn apart from the others of its window: the first new window is its own, the second holds the others."""
    turns = document.turns_of(text, window.turns)
    parts = [[turn for turn in turns if turn.qa_id == qa_id], [turn for turn in turns if turn.qa_id != qa_id]]
    return _parted(target, window, parts)


def _parted(target: Target, window: HeldWindow, parts: Iterable[list[Turn]]) -> Changes:
    """A window replaced by one for each part of its turns."""
    held = {turn.qa_id: HeldTurn(qa_id=turn.qa_id, hash=turn.hash, data_id=window.data_id) for turn in window.turns}
    windows = [_window(target, window.session_id, part, window.node_set, replaces=window.data_id) for part in parts]
    return Changes(windows=windows, supersedes={window.data_id}, known=held)


def session_plan(
    cached: CachedSession, held: HeldSession, *, settings: Settings, masked: Mapping[str, int] | None = None
) -> SessionPlan:
    """What is to be committed for a session whose plan is frozen, and what was `masked` in what was frozen just now."""
    windows = []
    waiting = 0
    for window in held.windows.values():
        again = window.state == State.QUARANTINED and window.attempts < settings.quarantine_attempts
        if window.pending or again:
            windows.append(
                Window(
                    data_id=window.data_id,
                    session_id=window.session_id,
                    turns=len(window.turns),
                    replaces=window.replaces,
                    quarantined=again,
                    failed_before=window.error_code is not None,
                )
            )
        elif window.state == State.QUARANTINED:
            waiting += len(window.turns)
    return SessionPlan(
        session_id=cached.session_id,
        cached_turns=len(cached.turns),
        known=bool(cached.turns or held.windows or held.turns),
        windows=tuple(windows),
        leftovers=tuple(leftovers(held)),
        foreign_turns=sum(turn.data_id is None for turn in held.turns.values()),
        quarantined_turns=waiting,
        masked=dict(masked or {}),
    )


def pending(cached: CachedSession, held: HeldSession, *, settings: Settings) -> Pending | None:
    """What of a session is still to be written to the dataset; None when nothing is."""
    planned = session_plan(cached, held, settings=settings).windows
    frozen = [held.windows[window.data_id] for window in planned]
    fresh = [
        turn for turn in cached.turns if (before := held.turns.get(turn.qa_id)) is None or before.hash != turn.hash
    ]
    times = {turn.qa_id: turn.time for window in frozen for turn in window.turns}
    times |= {turn.qa_id: turn.time for turn in fresh}
    if not times and not any(leftovers(held)):
        return None
    every = [*times.values(), *(turn.time for turn in cached.turns)]
    again = {turn.qa_id for window in planned if window.quarantined for turn in held.windows[window.data_id].turns}
    return Pending(
        turns=len(times),
        turns_quarantined=len(again - {turn.qa_id for turn in fresh}),
        windows=len(frozen) + sum(1 for _ in _cut(fresh, settings)),
        oldest_turn_at=min(_moments(times.values()), default=None),
        last_turn_at=max(_moments(every), default=None),
        only_cached=bool(fresh),
    )


def is_settled(held: HeldSession, qa_id: str, digest: str) -> bool:
    """Whether this very turn is in the dataset, or was removed from it on purpose."""
    turn = held.turns.get(qa_id)
    if turn is None or turn.hash != digest:
        return False
    if turn.data_id is None:
        return True
    window = held.windows.get(turn.data_id)
    return window is not None and (window.complete or window.forgotten)


def _moments(times: Iterable[str]) -> Iterator[datetime]:
    """The times that can be read; an application may have written others."""
    for time in times:
        with suppress(ValueError):
            at = datetime.fromisoformat(time)
            yield at if at.tzinfo else at.replace(tzinfo=UTC)


def _edited_windows(cached: CachedSession, held: HeldSession) -> Iterable[tuple[UUID | None, list[CachedTurn]]]:
    """Edited turns as they are now, by the window that holds them; None for those cognee's own path had stored."""
    edited: dict[UUID | None, list[CachedTurn]] = {}
    for turn in cached.turns:
        before = held.turns.get(turn.qa_id)
        if before is not None and before.hash != turn.hash:
            edited.setdefault(before.data_id, []).append(turn)
    return edited.items()


def leftovers(held: HeldSession) -> Iterator[UUID]:
    """Superseded documents still in the dataset that nothing needs any more."""
    for window in held.windows.values():
        if window.state == State.SUPERSEDED and window.written and (not window.complete or _is_replaced(held, window)):
            yield window.data_id


def _is_replaced(held: HeldSession, window: HeldWindow) -> bool:
    """Whether others hold its turns, in the graph or set apart, or cognee's own path has stored them all."""
    successors = _successors(held, window)
    if successors:
        return all(_is_decided(held, other) for other in successors)
    turns = [held.turns.get(turn.qa_id) for turn in window.turns]
    return all(turn is not None and turn.data_id is None for turn in turns)


def _is_decided(held: HeldSession, window: HeldWindow) -> bool:
    """Whether the turns of a window are in the dataset or set apart, themselves or through what replaced it."""
    if window.state == State.SUPERSEDED and not window.complete:
        successors = _successors(held, window)
        return bool(successors) and all(_is_decided(held, other) for other in successors)
    return not window.pending


def _successors(held: HeldSession, window: HeldWindow) -> list[HeldWindow]:
    return [other for other in held.windows.values() if other.replaces == window.data_id]


def _rewritten(frozen: Turn, said: CachedTurn | None, redact: Redact | None) -> Turn:
    """A turn of a document that is replaced: as it is said now; what was masked and is no edit stays as it was."""
    if said is None or (said.hash == frozen.hash and said.text != frozen.text):
        return frozen
    return said.redacted(redact)


def _windows(
    target: Target,
    session_id: str,
    turns: list[Turn],
    node_set: tuple[str, ...],
    settings: Settings,
    *,
    replaces: UUID | None,
) -> list[NewWindow]:
    return [_window(target, session_id, run, node_set, replaces=replaces) for run in _cut(turns, settings)]


def _window(
    target: Target, session_id: str, turns: list[Turn], node_set: tuple[str, ...], *, replaces: UUID | None
) -> NewWindow:
    return NewWindow(
        data_id=document.data_id(
            dataset_id=target.dataset_id,
            owner_id=target.user_id,
            session_id=session_id,
            turns=[(turn.qa_id, turn.hash) for turn in turns],
            replaces=replaces,
        ),
        document=document.render(session_id, turns),
        node_set=node_set,
        replaces=replaces,
        masked=sum((Counter(turn.masked) for turn in turns), Counter[str]()),
    )


def _cut(turns: Iterable[AnyTurn], settings: Settings) -> Iterator[list[AnyTurn]]:
    """Turns in runs that respect both caps; a turn longer than the cap is a run of its own."""
    run: list[AnyTurn] = []
    characters = 0
    for turn in turns:
        full = len(run) >= settings.turns_per_window or characters + len(turn.text) > settings.characters_per_window
        if run and full:
            yield run
            run, characters = [], 0
        run.append(turn)
        characters += len(turn.text)
    if run:
        yield run
