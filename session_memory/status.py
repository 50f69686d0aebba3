"""What became of each session so far, in each dataset it belongs in: `session-memory status`. Writes nothing."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import humanize
from pydantic import BaseModel, ConfigDict, Field, computed_field

from session_memory.backlog import LeftSession
from session_memory.discovery import Seen, look
from session_memory.ledger_schema import State
from session_memory.models import Frozen
from session_memory.report import NEVER, SHOWN, cut_note, time_left
from session_memory.settings import Settings


class SessionStatus(Frozen):
    """One session, for one dataset. Each turn counts once, and a turn in the cache may be any of the others."""

    user: str
    dataset: str | None
    session_id: str
    turns_cached: int = 0
    #: In the dataset's graph.
    turns_persisted: int = 0
    #: Still to be put there; those of them that are frozen in the ledger outlive the cache.
    turns_pending: int = 0
    #: Refused by the LLM and set apart.
    turns_quarantined: int = 0
    #: Put there by cognee's own path.
    turns_foreign: int = 0
    #: Removed from the dataset on purpose: not written again.
    turns_removed: int = 0
    #: When the cache loses the first of its turns; None: never, or it holds none.
    expires_at: datetime | None = None
    #: Why it could not be looked at.
    error: str | None = None

    @classmethod
    def of(cls, seen: Seen) -> "SessionStatus":
        """From what the cache and the ledger hold."""
        turns = {turn.qa_id: turn.hash for turn in seen.cached.turns}
        states: dict[str, str] = {}
        for qa_id, turn in seen.held.turns.items():
            window = seen.held.windows.get(turn.data_id) if turn.data_id else None
            if turns.get(qa_id, turn.hash) != turn.hash:
                states[qa_id] = "pending"
            elif window is None:
                states[qa_id] = "foreign"
            elif window.complete:
                states[qa_id] = "persisted"
            elif window.forgotten:
                states[qa_id] = "removed"
            else:
                states[qa_id] = "quarantined" if window.state == State.QUARANTINED else "pending"
        if seen.belongs:
            states = dict.fromkeys(turns, "pending") | states
        counts = Counter(states.values())
        return cls(
            user=seen.target.user_email,
            dataset=seen.target.dataset_name,
            session_id=seen.cached.session_id,
            turns_cached=len(turns),
            turns_persisted=counts["persisted"],
            turns_pending=counts["pending"],
            turns_quarantined=counts["quarantined"],
            turns_foreign=counts["foreign"],
            turns_removed=counts["removed"],
            expires_at=seen.expires_at if turns else None,
        )

    @classmethod
    def of_unseen(cls, left: LeftSession) -> "SessionStatus":
        """One that could not be looked at."""
        return cls(
            user=left.user,
            dataset=left.dataset,
            session_id=left.session_id,
            expires_at=left.expires_at,
            error=left.why,
        )


class LastRun(Frozen):
    """The last run of a flow on Prefect's server."""

    flow: str
    name: str
    #: Completed, Failed, Running…
    state: str
    started_at: datetime | None = None
    url: str | None = None


class StatusReport(BaseModel):
    """All sessions that were asked for."""

    model_config = ConfigDict(frozen=True)

    sessions: tuple[SessionStatus, ...] = ()
    #: The last run of each flow, where a server keeps them.
    last_runs: tuple[LastRun, ...] = ()
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @computed_field  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[str, int]:
        """Turns over all sessions, by what became of them."""
        names = ("cached", "persisted", "pending", "quarantined", "foreign", "removed")
        return {name: sum(getattr(one, f"turns_{name}") for one in self.sessions) for name in names}

    def columns(self) -> Sequence[str]:
        """The heads of `rows`."""
        return (
            "session",
            "dataset",
            "cached",
            "persisted",
            "pending",
            "quarantined",
            "foreign",
            "removed",
            "expires in",
        )

    def rows(self) -> list[Sequence[str]]:
        """A row a session, those with pending turns first, the soonest to expire at the top."""
        return [
            (
                one.session_id,
                one.dataset or "",
                *(str(count) if count else "" for count in self._numbers(one)),
                one.error or time_left(one.expires_at, self.at),
            )
            for one in self._sorted()[:SHOWN]
        ]

    def asstr(self) -> str:
        """A line a session for a pipe, the counts last."""
        lines = [
            f"{one.session_id} in {one.dataset or '?'}: {one.error or self._line(one)}"
            for one in self._sorted()[:SHOWN]
        ]
        return "\n".join([*lines, *self.summary()])

    def summary(self) -> list[str]:
        """The lines after the sessions: what was cut, the counts, the last runs."""
        lines = cut_note(len(self.sessions))
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count) or "none"
        lines.append(f"{len(self.sessions)} sessions; turns: {counts}")
        for run in self.last_runs:
            when = f" {humanize.naturaltime(self.at - run.started_at)}" if run.started_at else ""
            lines.append(f"last {run.flow}: {run.state}{when} ({run.name}{f', {run.url}' if run.url else ''})")
        return lines

    def _sorted(self) -> list[SessionStatus]:
        return sorted(
            self.sessions,
            key=lambda one: (not (one.turns_pending or one.error), one.expires_at or NEVER, one.session_id),
        )

    def _numbers(self, one: SessionStatus) -> Sequence[int]:
        return (
            one.turns_cached,
            one.turns_persisted,
            one.turns_pending,
            one.turns_quarantined,
            one.turns_foreign,
            one.turns_removed,
        )

    def _line(self, one: SessionStatus) -> str:
        names = ("cached", "persisted", "pending", "quarantined", "foreign", "removed")
        counts = [f"{count} {name}" for name in names if (count := getattr(one, f"turns_{name}"))]
        expiry = time_left(one.expires_at, self.at)
        return ", ".join([*counts, *([f"expires in {expiry}"] if expiry else [])]) or "empty"


async def status(
    users: list[str] | None, datasets: list[str] | None, session_ids: list[str] | None, settings: Settings
) -> StatusReport:
    """Look at sessions in the cache and the ledger.

    Args:
        users: e-mails or UUIDs; None for everybody.
        datasets: names or UUIDs; None for all.
        session_ids: only these; None for all.

    Raises:
        UserNotFound, DatasetNotFound: a filter names what does not exist.
        CachingDisabled, CacheNotListed, CacheUnreachable: the cache cannot be asked.
    """
    settings = settings.making_no_dataset()
    found = [one async for one in _statuses(users, datasets, session_ids, settings)]
    return StatusReport(sessions=tuple(found))


async def _statuses(
    users: list[str] | None, datasets: list[str] | None, session_ids: list[str] | None, settings: Settings
) -> AsyncIterator[SessionStatus]:
    async for seen in look(users, datasets, settings, session_ids=session_ids, finished=True):
        yield SessionStatus.of_unseen(seen) if isinstance(seen, LeftSession) else SessionStatus.of(seen)
