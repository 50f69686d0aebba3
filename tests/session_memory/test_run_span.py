"""The span of a run."""

import asyncio

import pytest
from opentelemetry import trace

from session_memory import telemetry
from session_memory.backlog import LeftSession, Reason
from session_memory.errors import DatasetNotFound
from session_memory.models import Outcome
from session_memory.pending_report import PendingReport
from session_memory.report import PersistReport, SessionReport
from session_memory.run_span import run_span
from tests.telemetry import telling


@pytest.fixture
def told():
    with telling() as told:
        yield told


def a_report(outcome: Outcome, code: str | None = None) -> PersistReport:
    session = SessionReport(session_id="chat", outcome=outcome, error_code=code, error="What is Marker?")
    return PersistReport(user="ada@example.com", dataset="d", sessions=(session,))


async def test_it_is_below_the_span_that_goes_on_around_it_and_above_those_of_its_run(told):
    tracer = told.tracer_provider.get_tracer("an application")
    with tracer.start_as_current_span("outside"):
        async with run_span("persist_sessions", "run-1") as run:
            with trace.get_tracer("cognee").start_as_current_span("inside"):
                await asyncio.sleep(0)
            run.tell(a_report(Outcome.PERSISTED))
    inside, ours, outside = told.spans()
    assert ours.name == "session_memory.persist_sessions"
    assert (ours.parent.span_id, inside.parent.span_id) == (outside.context.span_id, ours.context.span_id)
    assert ours.attributes["prefect.run.id"] == "run-1"
    assert ours.attributes["session_memory.sessions.persisted"] == 1
    assert ours.status.status_code is trace.StatusCode.UNSET


async def test_what_it_raises_is_there_by_its_code_and_without_its_words(told):
    for error, code in (
        (DatasetNotFound(dataset="d", near="What is Marker?"), "dataset_not_found"),
        (ValueError("What is Marker?"), "ValueError"),
        (asyncio.CancelledError("What is Marker?"), "CancelledError"),
    ):
        with pytest.raises(type(error)):
            async with run_span("persist_sessions", "run-1"):
                raise error
        span = told.spans()[-1]
        assert (span.attributes["error.type"], span.status.description) == (code, code)
        assert span.status.status_code is trace.StatusCode.ERROR
        assert span.events == ()
    failed = {dict(point)["error.type"] for point in told.metrics()["session_memory.run.duration"]}
    assert failed == {"dataset_not_found", "ValueError", "CancelledError"}


async def test_a_report_that_needs_attention_fails_it_with_the_codes_of_its_sessions(told):
    async with run_span("persist_sessions", "run-1") as run:
        run.tell(a_report(Outcome.FAILED, "llm_unavailable"))
    left = LeftSession(user="ada@example.com", session_id="chat", reason=Reason.ERROR, error_code="dataset_not_found")
    night = PendingReport.of(
        flow_run_id="run-2", runs=[a_report(Outcome.FAILED, "llm_unavailable")], left=[left], failed=[], seconds=1
    )
    async with run_span("persist_pending_sessions", "run-2") as run:
        run.tell(night)
    one, many = told.spans()
    for span, codes in ((one, ("llm_unavailable",)), (many, ("dataset_not_found", "llm_unavailable"))):
        assert span.attributes["error.type"] == "sessions_not_persisted"
        assert span.attributes["session_memory.error.codes"] == codes
        assert span.attributes["session_memory.sessions.failed"] == 1
        told_of = str(dict(span.attributes))
        assert not any(word in told_of for word in ("Marker", "chat", "ada"))


async def test_the_outermost_run_of_a_process_sends_what_all_of_them_told(told, monkeypatch):
    flushed = []

    async def flush() -> None:
        flushed.append([span.name for span in told.spans()])

    monkeypatch.setattr(telemetry, "flush", flush)
    async with run_span("persist_pending_sessions", "run-1"):
        for _ in range(2):
            async with run_span("persist_sessions", "run-2"):
                pass
    assert flushed == [["session_memory.persist_sessions"] * 2 + ["session_memory.persist_pending_sessions"]]
