"""The flow that persists everything pending, of every user, before it expires."""

import asyncio
import time
from typing import Annotated
from uuid import UUID

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from pydantic import Field

from flows import background
from flows.final_state import final_state
from flows.persist_sessions import Name, persist_sessions
from flows.progress import Progress
from session_memory import telemetry
from session_memory.backlog import Backlog, Group, LeftSession, Limits, Reason
from session_memory.errors import (
    DiskFull,
    LLMQuotaSpent,
    LLMRefusedKey,
    LLMRejectsEverything,
    SessionMemoryError,
    SessionsNotPersisted,
    Unexpected,
)
from session_memory.models import Outcome
from session_memory.pending_report import PendingReport
from session_memory.report import PersistReport, SessionReport
from session_memory.run_span import run_span
from tasks.find_pending_sessions import find_pending_sessions
from tasks.measure_pending import measure_pending
from tasks.publish_pending_report import publish_pending_report

#: What stopped one dataset would stop every other.
_STOPS_ALL = {kind.code for kind in (LLMRefusedKey, LLMQuotaSpent, LLMRejectsEverything, DiskFull)}

Names = Annotated[list[Name], Field(min_length=1)]


# The report is kept: without it a final state that had to be sent twice has no result, and awaiting the run fails.
# Pickled, which is Prefect's default: of an exception its JSON keeps the message alone, and ours carries the report.
@flow(name="persist-pending-sessions", persist_result=True)
async def persist_pending_sessions(
    users: Names | None = None,
    datasets: Names | None = None,
    idle_minutes: Annotated[float, Field(ge=0)] = 0,
    expiring_within_hours: Annotated[float, Field(gt=0)] | None = None,
    max_sessions: Annotated[int, Field(ge=1)] | None = None,
    max_windows: Annotated[int, Field(ge=1)] | None = None,
    datasets_at_a_time: Annotated[int, Field(ge=1, le=32)] = 4,
    on_workers: bool = False,
) -> PendingReport:
    """Find every session with turns that are in no dataset yet, and persist them, the soonest to expire first.

    A session goes into the dataset that cognee recorded for it. Where none is recorded it goes where the ledger
    holds it already, or else into the user's SESSION_MEMORY_DEFAULT_DATASET.

    Args:
        users: Only the sessions of these users: e-mails or UUIDs, e.g. ada@example.com. Leave empty for everybody.
        datasets: Only what goes into these datasets: names or UUIDs. Leave empty for all.
        idle_minutes: Leave sessions whose last turn is younger than so many minutes.
        expiring_within_hours: Only sessions with turns that the cache loses within so many hours.
        max_sessions: Take at most so many sessions; the rest is the next run's.
        max_windows: Write at most so many documents, each two LLM calls a chunk; the rest is the next run's.
        datasets_at_a_time: Datasets that are written to at the same time.
        on_workers: Have the work pool's workers write, each dataset in a run of its own, while this run waits for them.

    Returns:
        What became of each user's sessions, what was left and why, how old the oldest unpersisted turn is.

    Raises:
        SessionsNotPersisted: a session needs attention; carries the report. The others are not affected.
        SessionMemoryError: nothing could be found out at all; the message says what to do.
    """
    started = time.monotonic()
    limits = Limits(
        idle_minutes=idle_minutes,
        expiring_within_hours=expiring_within_hours,
        max_sessions=max_sessions,
        max_windows=max_windows,
    )
    async with run_span("persist_pending_sessions", flow_run.id) as span:
        backlog = await find_pending_sessions(users, datasets, limits)
        work = _Work(backlog, on_workers=on_workers)
        await work.do(at_a_time=datasets_at_a_time)
        report = work.report(seconds=round(time.monotonic() - started, 3))
        await publish_pending_report(report)
        if users is None and telemetry.is_measured():
            # A gauge that could not be set is a failed task on the run's page, and no failed run.
            await measure_pending(work.unpersisted(), datasets, return_state=True)  # type: ignore[misc]
        span.tell(report)
    return final_state(report)  # type: ignore[return-value]


# In a task of its own: Prefect tells runs that a flow starts by itself apart by their order alone, and a flow that is
# run again after a crash, with other groups, would be given the reports of the first time.
@task(task_run_name="{group.user_email} into {group.dataset_name}", cache_policy=NO_CACHE)
async def _persist_group(group: Group, *, on_workers: bool) -> PersistReport:
    user, dataset = str(group.user_id), str(group.dataset_id)
    session_ids = [session.session_id for session in group.sessions]
    try:
        if on_workers:
            return await background.on_worker(user, session_ids, dataset)
        return await persist_sessions(user=user, session_ids=session_ids, dataset=dataset)
    except SessionsNotPersisted as error:
        if not isinstance(error.report, PersistReport):
            raise
        return error.report


class _Work:
    """The runs of `persist-sessions` that a backlog needs, and what they leave."""

    def __init__(self, backlog: Backlog, *, on_workers: bool) -> None:
        self._groups = backlog.groups
        self._on_workers = on_workers
        self._runs: list[PersistReport] = []
        self._left = list(backlog.left)
        self._stopped: str | None = None
        sessions = sum(len(group.sessions) for group in backlog.groups)
        self._progress = Progress(sessions, f"Sessions done, of {sessions}")

    async def do(self, *, at_a_time: int) -> None:
        """Run all groups: several datasets at a time, one dataset's groups one after another."""
        await self._progress.show()
        places = asyncio.Semaphore(at_a_time)
        by_dataset: dict[UUID, list[Group]] = {}
        for group in self._groups:
            by_dataset.setdefault(group.dataset_id, []).append(group)

        async def do_dataset(groups: list[Group]) -> None:
            async with places:
                for group in groups:
                    await self._do_group(group)
                    self._progress.count(len(group.sessions))
                    await self._progress.show()

        await asyncio.gather(*map(do_dataset, by_dataset.values()))

    async def _do_group(self, group: Group) -> None:
        if self._stopped is not None:
            self._leave(group, Reason.STOPPED, error=self._stopped)
            return
        try:
            report = await _persist_group(group, on_workers=self._on_workers)
        except SessionMemoryError as error:
            self._leave(group, Reason.ERROR, error_code=error.code, error=str(error))
            return
        except Exception as error:  # noqa: BLE001 - Prefect's own: the other groups go on
            unexpected = Unexpected(kind=type(error).__name__, place="persist-sessions")
            self._leave(group, Reason.ERROR, error_code=unexpected.code, error=str(unexpected))
            return
        self._runs.append(report)
        stopped = next((one.error for one in report.sessions if one.error_code in _STOPS_ALL), None)
        self._stopped = self._stopped or stopped

    def _leave(self, group: Group, reason: Reason, **why: str) -> None:
        self._left += [LeftSession.of(session, reason, **why) for session in group.sessions]

    def report(self, *, seconds: float) -> PendingReport:
        """What was done and left, and the age of what is still unpersisted."""
        return PendingReport.of(
            flow_run_id=flow_run.id, runs=self._runs, left=self._left, failed=self._failed(), seconds=seconds
        )

    def unpersisted(self) -> list[LeftSession]:
        """Every session that still has unpersisted turns: what was left, and what could not be finished."""
        return [*self._left, *self._failed()]

    def _failed(self) -> list[LeftSession]:
        """Sessions that a run took and could not finish."""
        failed = {
            (run.user_id, run.dataset_id, session.session_id): session
            for run in self._runs
            for session in run.sessions
            if session.outcome in {Outcome.FAILED, Outcome.PENDING}
        }
        return [
            LeftSession.of(session, Reason.ERROR, **_still_pending(outcome))
            for group in self._groups
            for session in group.sessions
            if (outcome := failed.get((group.user_id, group.dataset_id, session.session_id))) is not None
        ]


def _still_pending(outcome: SessionReport) -> dict[str, object]:
    """What is pending of a session after its run; nothing to say where the run froze nothing of it."""
    if not outcome.turns_pending:
        return {}
    # What was frozen in the ledger is not lost any more when the cache expires.
    return {"expires_at": None, "turns": outcome.turns_pending, "turns_quarantined": 0}
