"""What people and machines read of a run."""

import json

import pytest

from session_memory.errors import SessionsNotPersisted
from session_memory.models import Outcome
from session_memory.report import PersistReport, SessionReport

REPORT = PersistReport(
    user="u@example.com",
    dataset="main|dataset",
    sessions=(
        SessionReport(session_id="fine", outcome=Outcome.PERSISTED, turns_persisted=2, nodes=5, edges=7),
        SessionReport(session_id="a|b`c", outcome=Outcome.FAILED, turns_pending=1, error="Try again."),
        SessionReport(session_id="old", outcome=Outcome.NOTHING_NEW),
    ),
    llm_calls=1,
    seconds=1.25,
)


def test_the_summary_is_one_line_of_counts():
    assert REPORT.summary() == (
        "3 sessions: 1 failed, 1 persisted, 1 nothing new; 2 turns, 5 nodes, 7 edges, 1 LLM call, 1.2 s"
    )


def test_on_a_terminal_failures_come_first_with_what_to_do_and_the_counts_last():
    lines = REPORT.asstr().splitlines()
    assert lines[0] == "a|b`c: failed, 1 pending. Try again."
    assert lines[-1] == REPORT.summary()


def test_in_markdown_the_counts_come_before_what_to_do_and_no_id_breaks_it():
    lines = REPORT.to_markdown().splitlines()
    assert lines[:5] == [
        "# main\\|dataset",
        "",
        "Failed: 1 of 3 sessions  ",
        "Persisted: 1 of 3 sessions  ",
        "Nothing new: 1 of 3 sessions  ",
    ]
    assert "| 2 | 5 | 7 | 1 |  |  | 1.2 |" in lines
    assert lines.index("## What to do") > lines.index("| 2 | 5 | 7 | 1 |  |  | 1.2 |")
    assert "- `a\\|b'c`: Try again." in lines


def test_the_table_has_a_row_a_session_failures_first():
    rows = REPORT.table()
    assert [row["session"] for row in rows] == ["a|b`c", "fine", "old"]
    assert rows[0] | {"outcome": "failed", "pending": 1, "what to do": "Try again."} == rows[0]
    assert rows[1] | {"turns stored now": 2, "nodes": 5, "edges": 7, "what to do": ""} == rows[1]


def test_a_submitted_run_is_named_with_its_page():
    sessions = (SessionReport(session_id="s", outcome=Outcome.SUBMITTED),)
    report = PersistReport(user="u", dataset="d", sessions=sessions, flow_run_id="f", run_url="http://page")
    assert report.summary() == "1 session submitted: flow run f, http://page"
    report.raise_on_failure()


def test_json_holds_the_counts_and_reads_back():
    data = json.loads(REPORT.model_dump_json())
    assert data["counts"] == {"failed": 1, "persisted": 1, "nothing_new": 1}
    assert PersistReport.model_validate({k: v for k, v in data.items()}) == REPORT


def test_a_run_fails_for_failed_not_found_and_newly_quarantined_sessions_only():
    def report(**session) -> PersistReport:
        return PersistReport(user="u", dataset="d", sessions=(SessionReport(session_id="s", **session),))

    for fails in [
        {"outcome": Outcome.FAILED},
        {"outcome": Outcome.NOT_FOUND},
        {"outcome": Outcome.QUARANTINED, "newly_quarantined": True},
    ]:
        with pytest.raises(SessionsNotPersisted) as caught:
            report(**fails).raise_on_failure()
        assert caught.value.report == report(**fails)
    for fine in [{"outcome": Outcome.PERSISTED}, {"outcome": Outcome.NOTHING_NEW, "turns_quarantined": 1}]:
        report(**fine).raise_on_failure()


def test_a_long_report_is_cut_and_says_so():
    sessions = tuple(SessionReport(session_id=str(n), outcome=Outcome.NOTHING_NEW) for n in range(1000))
    report = PersistReport(user="u", dataset="d", sessions=sessions)
    assert "and 800 more" in report.asstr()
    assert len(report.table()) == 1000
    failed = tuple(SessionReport(session_id=str(n), outcome=Outcome.FAILED, error="e") for n in range(1000))
    assert "and 800 more" in PersistReport(user="u", dataset="d", sessions=failed).to_markdown()


def test_what_was_masked_is_told_in_words_the_built_in_kinds_first_and_not_at_all_when_nothing_was():
    sessions = (
        SessionReport(session_id="a", outcome=Outcome.PERSISTED, masked={"email": 1, "place": 2}),
        SessionReport(session_id="b", outcome=Outcome.PERSISTED, masked={"email": 2, "card": 1}),
    )
    report = PersistReport(user="u", dataset="d", sessions=sessions)
    assert report.masked == {"email": 3, "place": 2, "card": 1}
    told = "masked: 3 e-mail addresses, 1 card number, 2 place"
    assert told in report.asstr().splitlines()
    assert told.capitalize() in report.to_markdown().splitlines()
    assert json.loads(report.model_dump_json())["masked"] == report.masked
    assert "masked" not in REPORT.asstr() + REPORT.to_markdown().lower()
