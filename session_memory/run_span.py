"""The span of a run, and what is counted of it."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

from session_memory import metrics, telemetry
from session_memory.errors import SessionMemoryError, SessionsNotPersisted
from session_memory.pending_report import PendingReport
from session_memory.report import PersistReport

#: Whether a run of this process goes on around this one; then that one sends what both told.
_within: ContextVar[bool] = ContextVar("session_memory_within_a_run", default=False)


class RunSpan:
    """What a run tells of itself: ids, counts and codes, never a message."""

    def __init__(self, span: Span) -> None:
        self._span = span
        #: What the run failed with.
        self.error_code: str | None = None

    def tell(self, report: PersistReport | PendingReport) -> None:
        """What the run did; one whose report needs attention has failed, as its flow run has."""
        if isinstance(report, PersistReport):
            self._tell_of_one(report)
            metrics.count(report)
        else:
            self._tell_of_many(report)

    def fail(self, code: str) -> None:
        """The run failed with this code."""
        self.error_code = code
        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR, code))

    def _tell_of_one(self, report: PersistReport) -> None:
        self._tell_outcomes([report], report.seconds)
        named = {
            "session_memory.dataset.id": str(report.dataset_id) if report.dataset_id else None,
            "session_memory.dataset.name": report.dataset,
            "gen_ai.request.model": report.model,
        }
        self._span.set_attributes({key: value for key, value in named.items() if value is not None})
        if report.failed_sessions:
            self._fail_partly(one.error_code for one in report.failed_sessions)

    def _tell_of_many(self, report: PendingReport) -> None:
        self._tell_outcomes(report.runs, report.seconds)
        self._span.set_attribute("session_memory.sessions.left", sum(report.left_counts.values()))
        if report.failures:
            failed = [one.error_code for run in report.runs for one in run.failed_sessions]
            self._fail_partly([*failed, *(one.error_code for one in report.left)])

    def _tell_outcomes(self, reports: Iterable[PersistReport], seconds: float) -> None:
        counts = Counter[str]()
        for report in reports:
            counts.update({f"session_memory.sessions.{outcome}": count for outcome, count in report.counts.items()})
            counts["session_memory.turns.persisted"] += report.turns_persisted
            counts["session_memory.llm.calls"] += report.llm_calls
            counts["gen_ai.usage.input_tokens"] += report.tokens_in
            counts["gen_ai.usage.output_tokens"] += report.tokens_out
        self._span.set_attributes({**counts, "session_memory.run.duration": seconds})

    def _fail_partly(self, codes: Iterable[str | None]) -> None:
        self.fail(SessionsNotPersisted.code)
        self._span.set_attribute("session_memory.error.codes", sorted({code for code in codes if code}))


@asynccontextmanager
async def run_span(flow: str, flow_run_id: object) -> AsyncIterator[RunSpan]:
    """Trace a run, below whatever span goes on around it, and send what it told when it ends.

    Args:
        flow: `persist_sessions` or `persist_pending_sessions`.
        flow_run_id: Prefect's id of the run.
    """
    started = time.monotonic()
    outermost = not _within.get()
    token = _within.set(True)
    span = trace.get_tracer("session_memory").start_span(
        f"session_memory.{flow}", attributes={"prefect.run.id": str(flow_run_id)}
    )
    run = RunSpan(span)
    try:
        # Without the exception itself: the SDK would take its message and its traceback.
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield run
            except BaseException as error:
                run.fail(error.code if isinstance(error, SessionMemoryError) else type(error).__name__)
                raise
    finally:
        _within.reset(token)
        metrics.record_duration(flow, time.monotonic() - started, run.error_code)
        if outermost:
            await telemetry.flush()
