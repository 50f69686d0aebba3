"""What a run over everything pending did, and what it left and why."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import humanize
from pydantic import BaseModel, ConfigDict, Field, computed_field

from session_memory.backlog import LeftSession, Reason
from session_memory.errors import SessionsNotPersisted
from session_memory.report import NEVER, PersistReport, cell, plural

_SHOWN = 100
#: A cache may hold very many sessions that a run leaves; the counts are of all.
_KEPT = 1000

#: Reasons that somebody chose, in the run's limits: no cause for alarm by themselves.
_CHOSEN = {Reason.ACTIVE, Reason.NOT_EXPIRING, Reason.OVER_SESSIONS, Reason.OVER_WINDOWS}


class PendingReport(BaseModel):
    """What a run of `persist-pending-sessions` did, dataset by dataset."""

    model_config = ConfigDict(frozen=True)

    flow_run_id: str | None = None
    #: A report for every user and dataset whose sessions were persisted.
    runs: tuple[PersistReport, ...] = ()
    #: Sessions with unpersisted turns that this run did not take, or could not; the soonest to expire first, cut.
    left: tuple[LeftSession, ...] = ()
    #: Sessions that were left, by reason; all of them.
    left_counts: dict[str, int] = {}
    #: When the oldest turn was said that is still in no dataset.
    oldest_pending_at: datetime | None = None
    #: When the first of the turns that are in no dataset, nor in the ledger, expires from the cache.
    next_expiry_at: datetime | None = None
    seconds: float = 0.0
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(
        cls,
        *,
        flow_run_id: str | None,
        runs: Sequence[PersistReport],
        left: Sequence[LeftSession],
        failed: Sequence[LeftSession],
        seconds: float,
    ) -> "PendingReport":
        """The report of a run.

        Args:
            left: what it did not take.
            failed: what it took and could not finish, which `runs` tell of.
        """
        # What a deleted user said is nobody's to wait for.
        pending = [one for one in (*left, *failed) if one.reason is not Reason.NO_USER]
        return cls(
            flow_run_id=flow_run_id,
            runs=tuple(runs),
            left=tuple(sorted(left, key=lambda one: one.expires_at or NEVER)[:_KEPT]),
            left_counts=dict(Counter(one.reason.value for one in left).most_common()),
            oldest_pending_at=min((one.oldest_turn_at for one in pending if one.oldest_turn_at), default=None),
            next_expiry_at=min((one.expires_at for one in pending if one.expires_at), default=None),
            seconds=seconds,
        )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def turns_persisted(self) -> int:
        """Turns this run put into graphs."""
        return sum(run.turns_persisted for run in self.runs)

    @property
    def sessions(self) -> int:
        """Sessions that were taken."""
        return sum(len(run.sessions) for run in self.runs)

    @property
    def failures(self) -> int:
        """Sessions somebody should look at."""
        left = sum(self.left_counts.get(reason.value, 0) for reason in (Reason.ERROR, Reason.STOPPED))
        return left + sum(len(run.failed_sessions) for run in self.runs)

    @property
    def all_failed(self) -> bool:
        """Whether nothing that was taken worked."""
        return self.failures > 0 and all(run.all_failed for run in self.runs)

    def expiring(self, within_hours: float) -> list[LeftSession]:
        """Sessions that were left, whose turns the cache loses within so many hours of the report."""
        before = self.at + timedelta(hours=within_hours)
        return [
            one
            for one in self.left
            if one.expires_at is not None and one.expires_at <= before and one.reason is not Reason.NO_USER
        ]

    def summary(self) -> str:
        """One line: what was done, what was left, how old the oldest unpersisted turn is."""
        if not self.runs and not self.left:
            return "nothing pending"
        done = self._what_was_done() if self.runs else "no session taken"
        return "; ".join([done, *self._what_is_left()])

    def _what_was_done(self) -> str:
        outcomes = Counter[str]()
        for run in self.runs:
            outcomes.update(run.counts)
        counted = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in outcomes.items())
        users, datasets = {run.user_id for run in self.runs}, {run.dataset_id for run in self.runs}
        return (
            f"{_count(self.sessions, 'session')} of {_count(len(users), 'user')} "
            f"in {_count(len(datasets), 'dataset')}: {counted}; "
            f"{_count(self.turns_persisted, 'turn')}, {self.seconds:.1f} s"
        )

    def _what_is_left(self) -> Iterable[str]:
        if self.left:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.left_counts.items())
            yield f"{sum(self.left_counts.values())} left ({reasons})"
        if self.oldest_pending_at:
            age = humanize.naturaldelta(self.at - self.oldest_pending_at)
            yield f"oldest unpersisted turn {age} old{self._expiry()}"

    def _expiry(self) -> str:
        if self.next_expiry_at is None:
            return ""
        if self.next_expiry_at <= self.at:
            return ", expiring now"
        return f", first to expire in {humanize.naturaldelta(self.next_expiry_at - self.at)}"

    def asstr(self) -> str:
        """The report for a terminal: each user and dataset, what failed and what to do, what was left, the counts."""
        lines = [f"{run.user} into {run.dataset}: {run.summary()}" for run in self.runs[:_SHOWN]]
        failed = [(run, one) for run in self.runs for one in run.failed_sessions]
        lines += [f"{one.session_id} of {run.user} into {run.dataset}: {one.error}" for run, one in failed[:_SHOWN]]
        lines += [f"{one.session_id} of {one.user}: {one.why}" for one in self._left_to_show()]
        pictures = [(run.dataset, run.picture) for run in self.runs if run.picture]
        lines += [f"What it added to the graph of {dataset}: {path}" for dataset, path in pictures[:_SHOWN]]
        return "\n".join([*lines, *self._cut_note(), self.summary()])

    def to_markdown(self) -> str:
        """The report for Prefect's page of a run."""
        lines = ["# Pending sessions", "", self.summary(), ""]
        if self.runs:
            lines += [
                "| user | dataset | sessions | turns stored now | what happened |",
                "| --- | --- | ---: | ---: | --- |",
            ]
            lines += [
                f"| {cell(run.user)} | {_linked(run)} | {len(run.sessions)} | {run.turns_persisted} "
                f"| {cell(_outcomes(run))} |"
                for run in self.runs[:_SHOWN]
            ]
            lines.append("")
        if self.left:
            lines += ["## Left, and why", "", "| session | user | dataset | turns | expires | why |"]
            lines += ["| --- | --- | --- | ---: | --- | --- |"]
            lines += [
                f"| `{cell(one.session_id)}` | {cell(one.user)} | {cell(one.dataset or '')} "
                f"| {'' if one.turns is None else one.turns} | {self._when(one)} | {cell(one.why)} |"
                for one in self._left_to_show()
            ]
        return "\n".join([*lines, *self._cut_note()])

    def raise_on_failure(self) -> None:
        """Raises SessionsNotPersisted, carrying this report, when a session needs attention."""
        if self.failures:
            raise SessionsNotPersisted(self.summary(), self)

    def _left_to_show(self) -> list[LeftSession]:
        """Those somebody should look at first, then the soonest to expire."""
        return sorted(self.left, key=lambda one: (one.reason in _CHOSEN, one.expires_at or NEVER))[:_SHOWN]

    def _cut_note(self) -> list[str]:
        more = max(sum(self.left_counts.values()) - _SHOWN, 0) + max(len(self.runs) - _SHOWN, 0)
        return [f"and {more} more, which the counts include"] if more else []

    def _when(self, one: LeftSession) -> str:
        if one.expires_at is None:
            return "never"
        if one.expires_at <= self.at:
            return "now"
        return f"in {humanize.naturaldelta(one.expires_at - self.at)}"


def _linked(run: PersistReport) -> str:
    name = cell(run.dataset)
    return f"[{name}]({run.run_url})" if run.run_url else name


def _outcomes(run: PersistReport) -> str:
    return ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in run.counts.items())


def _count(number: int, word: str) -> str:
    return f"{number} {plural(word, number)}"
