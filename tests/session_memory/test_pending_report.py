"""What people and machines read of a run over everything pending."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from session_memory.backlog import LeftSession, Reason
from session_memory.errors import SessionsNotPersisted
from session_memory.models import Outcome
from session_memory.pending_report import PendingReport
from session_memory.report import PersistReport, SessionReport

NOW = datetime.now(UTC)


def run(outcome: Outcome, user: str = "u@example.com", url: str | None = None) -> PersistReport:
    sessions = (SessionReport(session_id="s", outcome=outcome, turns_persisted=2, error="Try again."),)
    return PersistReport(user=user, user_id=uuid4(), dataset="d|1", dataset_id=uuid4(), sessions=sessions, run_url=url)


def left(reason: Reason, hours: float | None = None, session: str = "l|1", **more) -> LeftSession:
    expires_at = NOW + timedelta(hours=hours) if hours is not None else None
    oldest = NOW - timedelta(hours=3)
    return LeftSession(
        user="u", session_id=session, reason=reason, expires_at=expires_at, oldest_turn_at=oldest, turns=2, **more
    )


def report(*runs: PersistReport, left: list[LeftSession] | None = None, failed=()) -> PendingReport:
    return PendingReport.of(flow_run_id="f", runs=runs, left=left or [], failed=failed, seconds=1.25)


def test_the_summary_tells_what_was_done_left_and_how_late_it_is():
    one = report(run(Outcome.PERSISTED), run(Outcome.FAILED), left=[left(Reason.ACTIVE, 30.1)])
    assert one.summary() == (
        "2 sessions of 2 users in 2 datasets: 1 persisted, 1 failed; 4 turns, 1.2 s; 1 left (1 still active); "
        "oldest unpersisted turn 3 hours old, first to expire in a day"
    )
    assert report().summary() == "nothing pending"
    assert report(left=[left(Reason.ACTIVE, 0)]).summary().endswith(", expiring now")


def test_what_was_chosen_to_be_left_fails_no_run_and_what_went_wrong_does():
    for fine in (Reason.ACTIVE, Reason.NOT_EXPIRING, Reason.OVER_SESSIONS, Reason.OVER_WINDOWS, Reason.NO_USER):
        report(run(Outcome.PERSISTED), left=[left(fine)]).raise_on_failure()
    for wrong in (
        report(run(Outcome.FAILED)),
        report(left=[left(Reason.ERROR, error="No.")]),
        report(left=[left(Reason.STOPPED)]),
    ):
        with pytest.raises(SessionsNotPersisted) as caught:
            wrong.raise_on_failure()
        assert caught.value.report == wrong
        assert wrong.all_failed
    assert not report(run(Outcome.PERSISTED), left=[left(Reason.ERROR)]).all_failed


def test_only_what_somebody_can_still_save_is_told_to_expire():
    one = report(left=[left(Reason.ACTIVE, 2, "a"), left(Reason.NO_USER, 1, "b"), left(Reason.NOT_EXPIRING, 30, "c")])
    assert [session.session_id for session in one.expiring(24)] == ["a"]
    assert one.next_expiry_at == NOW + timedelta(hours=2)
    failed = report(run(Outcome.FAILED), failed=[left(Reason.ERROR, 1)])
    assert failed.next_expiry_at == NOW + timedelta(hours=1)


def test_in_markdown_runs_are_linked_where_they_have_a_page_and_no_id_breaks_a_table():
    text = report(
        run(Outcome.PERSISTED, url="http://page"),
        run(Outcome.PERSISTED),
        left=[left(Reason.ERROR, 2.1, error="No|way.")],
    ).to_markdown()
    assert "| u@example.com | [d\\|1](http://page) | 1 | 2 | 1 persisted |" in text
    assert "| u@example.com | d\\|1 | 1 | 2 | 1 persisted |" in text
    assert "| `l\\|1` | u |  | 2 | in 2 hours | No\\|way. |" in text


def test_a_very_long_list_is_cut_and_the_counts_are_of_all():
    many = report(left=[left(Reason.ACTIVE, hours, str(hours)) for hours in range(5000, 0, -1)])
    assert (len(many.left), many.left_counts) == (1000, {"still active": 5000})
    assert many.left[0].session_id == "1"
    assert "5000 left" in many.summary()
    assert "and 4900 more" in many.asstr()
    assert PendingReport.model_validate_json(many.model_dump_json()) == many
