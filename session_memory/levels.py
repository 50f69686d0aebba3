"""How much of each dataset is still pending and how much is set apart, for the gauges."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from session_memory.backlog import LeftSession, PendingSession, Reason
from session_memory.models import Frozen

#: In place of a dataset's id, for all those beyond the settings' number. No id of a dataset is a word.
OTHER = "other"


class Level(Frozen):
    """Of one dataset; without an id, of sessions whose dataset is not known; with the id `other`, of many."""

    dataset_id: str | None = None
    dataset_name: str | None = None
    #: Turns that are not in the dataset yet. Of a session that could not be looked at, nobody knows how many.
    turns: int = 0
    oldest_turn_at: datetime | None = None
    #: When the cache loses the first turn that stands nowhere else.
    expires_at: datetime | None = None
    #: Turns that the LLM refused; they are no others' `turns`.
    quarantined: int = 0


def of_datasets(
    sessions: Iterable[PendingSession | LeftSession],
    datasets: Mapping[UUID, str],
    quarantined: Mapping[UUID, int],
    *,
    at_most: int,
) -> list[Level]:
    """The level of every dataset, also of one that has nothing pending any more: its gauge is to say so.

    Args:
        sessions: all that have turns that are in no dataset.
        datasets: the names of the datasets that are known besides.
        quarantined: turns that are set apart, by dataset.
        at_most: datasets with a level of their own; the rest is summed up in one. By id, not by what is pending, so
            that it is the same ones from run to run.
    """
    names = dict(datasets)
    parts: dict[UUID | None, list[Level]] = {}
    for session in sessions:
        # What a deleted user said is nobody's to wait for.
        if isinstance(session, LeftSession) and session.reason is Reason.NO_USER:
            continue
        if session.dataset_id is not None:
            names.setdefault(session.dataset_id, _name(session))
        parts.setdefault(session.dataset_id, []).append(_of_session(session))
    by_dataset = [
        _sum(
            [*parts.get(dataset_id, ()), Level(quarantined=quarantined.get(dataset_id, 0))],
            dataset_id=str(dataset_id),
            dataset_name=names[dataset_id],
        )
        for dataset_id in sorted(names)
    ]
    return [*_cut(by_dataset, at_most), *([_sum(parts[None])] if None in parts else [])]


def _name(session: PendingSession | LeftSession) -> str:
    return session.dataset_name if isinstance(session, PendingSession) else session.dataset or ""


def _of_session(session: PendingSession | LeftSession) -> Level:
    if session.turns is None:
        return Level(expires_at=session.expires_at)
    # What was refused and is tried again is set apart until it is in the graph.
    turns = session.turns - session.turns_quarantined
    if not turns:
        return Level()
    return Level(turns=turns, oldest_turn_at=session.oldest_turn_at, expires_at=session.expires_at)


def _cut(by_dataset: Sequence[Level], at_most: int) -> Iterator[Level]:
    yield from by_dataset[:at_most]
    if by_dataset[at_most:]:
        yield _sum(by_dataset[at_most:], dataset_id=OTHER)


def _sum(parts: Sequence[Level], *, dataset_id: str | None = None, dataset_name: str | None = None) -> Level:
    return Level(
        dataset_id=dataset_id,
        dataset_name=dataset_name,
        turns=sum(part.turns for part in parts),
        oldest_turn_at=min((part.oldest_turn_at for part in parts if part.oldest_turn_at), default=None),
        expires_at=min((part.expires_at for part in parts if part.expires_at), default=None),
        quarantined=sum(part.quarantined for part in parts),
    )
