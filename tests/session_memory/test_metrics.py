"""The metrics, as a reader in this process gets them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from session_memory import metrics
from session_memory.levels import Level
from session_memory.models import Outcome
from session_memory.report import PersistReport, SessionReport
from tests.telemetry import telling


@pytest.fixture
def told():
    with telling() as told:
        yield told
    metrics.set_levels([])


def a_report(**more) -> PersistReport:
    session = SessionReport(session_id="chat", outcome=Outcome.PERSISTED, turns_persisted=3)
    return PersistReport(user="u", dataset="d", dataset_id=uuid4(), sessions=(session,), **more)


def test_what_runs_did_adds_up(told):
    for _ in range(2):
        metrics.count(a_report(llm_calls=6, tokens_in=30, tokens_out=15, model="double/llm"))
    model = ("gen_ai.request.model", "double/llm")
    assert told.metrics() == {
        "session_memory.turns.persisted": {(): 6},
        "session_memory.llm.calls": {(model,): 12},
        "session_memory.llm.tokens": {
            (model, ("gen_ai.token.type", "input")): 60,
            (model, ("gen_ai.token.type", "output")): 30,
        },
    }


def test_a_run_without_a_model_made_no_calls(told):
    metrics.count(a_report())
    assert told.metrics() == {"session_memory.turns.persisted": {(): 3}}


def test_a_duration_carries_the_flow_and_what_it_failed_with(told):
    metrics.record_duration("persist_sessions", 2.5, None)
    metrics.record_duration("persist_sessions", 4, "dataset_not_found")
    flow = ("session_memory.flow", "persist_sessions")
    assert told.metrics()["session_memory.run.duration"] == {
        (flow,): 2.5,
        (("error.type", "dataset_not_found"), flow): 4,
    }


def test_the_gauges_age_with_the_clock_and_tell_no_more_of_a_dataset_that_went(told):
    now = datetime.now(UTC)
    late = Level(
        dataset_id="1",
        dataset_name="late",
        turns=2,
        oldest_turn_at=now - timedelta(hours=2),
        expires_at=now - timedelta(seconds=1),
        quarantined=1,
    )
    metrics.set_levels([late, Level(dataset_id="2", dataset_name="done"), Level(expires_at=now + timedelta(hours=1))])
    first, second = told.metrics(), told.metrics()
    of_late, of_done = (
        (("session_memory.dataset.id", number), ("session_memory.dataset.name", name))
        for number, name in (("1", "late"), ("2", "done"))
    )
    assert first["session_memory.turns.pending"] == {of_late: 2, of_done: 0, (): 0}
    assert first["session_memory.turns.quarantined"] == {of_late: 1, of_done: 0, (): 0}
    ages = first["session_memory.turns.pending.age"]
    assert ages == {of_late: pytest.approx(7200, abs=5), of_done: 0, (): 0}
    assert second["session_memory.turns.pending.age"][of_late] > ages[of_late]
    # Lost already is no time left; what never expires has none.
    assert first["session_memory.turns.expiry"] == {of_late: 0, (): pytest.approx(3600, abs=5)}

    metrics.set_levels([Level(dataset_id="2", dataset_name="done")])
    assert told.metrics()["session_memory.turns.pending"] == {of_done: 0}


def test_without_a_provider_nothing_is_made():
    before = metrics._instruments.cache_info().currsize
    metrics.count(a_report(model="double/llm"))
    metrics.record_duration("persist_sessions", 1, None)
    metrics.set_levels([])
    assert metrics._instruments.cache_info().currsize == before
