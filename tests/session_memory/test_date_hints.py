"""The hints for the LLM are cognee's own, and only turns that name a date are searched for them."""

from datetime import UTC, datetime, timedelta

from cognee.modules.engine.utils import temporal_hints
from hypothesis import given, settings
from hypothesis import strategies as st

from session_memory import date_hints
from session_memory.document import CachedTurn, render

_SAID = st.sampled_from(
    [
        "Where does Ada work?",
        "At the mill, with 4 others; the score was 1:2.",
        "We meet next week at 12:30, by the river.",
        "It may rain. She left on 27 April.",
        "In 1986 she moved, and a month later she left again.",
        "That was 3 March 2024.",
        "Two days ago.",
        "It costs $1986, or 12345.",
        "Time: 3\n\nQuestion: no turn of ours",
        "明年三月, ёлка, 🦊",
        "",
    ]
)
_TURNS = st.lists(st.tuples(_SAID, _SAID, st.integers(0, 10_000)), max_size=5)


@given(_TURNS, st.sampled_from([None, datetime(2020, 2, 29, tzinfo=UTC)]))
@settings(max_examples=100, deadline=None)
def test_hints_are_those_of_cognee(said, base):
    start = datetime(2026, 1, 31, 22, 5, 9, 123456, tzinfo=UTC)
    turns = [
        CachedTurn.of(
            qa_id=str(number), question=question, answer=answer, time=(start + timedelta(hours=hours)).isoformat()
        ).redacted(None)
        for number, (question, answer, hours) in enumerate(said)
    ]
    text = render("chat-1", turns).text
    assert date_hints.hints(text, base) == temporal_hints.hint_lines(text, base)


def test_a_document_without_dates_costs_one_look_at_its_last_time(monkeypatch):
    looked_at = []

    def look(text, base):
        looked_at.append(text)
        return [], "its time"

    monkeypatch.setattr(date_hints, "hint_lines", look)
    turns = [
        CachedTurn.of(
            qa_id=str(number), question="Where?", answer="By the river.", time=f"2026-11-0{number}T10:00:00+00:00"
        ).redacted(None)
        for number in range(1, 6)
    ]
    assert date_hints.hints(render("chat-1", turns).text, None) == ([], "its time")
    assert looked_at == ["Time: 2026-11-05T10:00:00+00:00"]
