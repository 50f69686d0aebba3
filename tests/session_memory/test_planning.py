"""Which windows are frozen, decided without any I/O."""

from collections import Counter
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from session_memory import document, planning
from session_memory.document import CachedSession, CachedTurn, question_and_answer
from session_memory.errors import RedactionFailed
from session_memory.holdings import Changes, HeldSession, HeldTurn, HeldWindow
from session_memory.ledger_schema import State
from session_memory.models import Target, TurnRef
from session_memory.redaction import Redact, Redacted
from session_memory.settings import Settings

OWNER = uuid4()
TARGET = Target(
    user_id=OWNER,
    user_email="a@b.c",
    writer_id=OWNER,
    writer_email="a@b.c",
    dataset_id=uuid4(),
    dataset_name="d",
    dataset_owner_id=OWNER,
)
SETTINGS = Settings(turns_per_window=3, characters_per_window=400)


def turn(name: str, answer: str = "an answer") -> CachedTurn:
    return CachedTurn.of(qa_id=name, question=f"What is {name}?", answer=answer, time="2026-01-01T00:00:00")


def cached(*turns: CachedTurn, watermark: int = 0) -> CachedSession:
    return CachedSession(session_id="s", turns=turns, node_set=(), watermark=watermark)


def plan(
    session: CachedSession,
    held: HeldSession,
    foreign: set[str] = frozenset(),  # type: ignore[assignment]
    redact: Redact | None = None,
) -> Changes:
    return planning.plan(TARGET, session, held, foreign=foreign, texts={}, redact=redact, settings=SETTINGS)


def frozen(changes: Changes, **state: object) -> HeldSession:
    """What the ledger holds once `changes` are frozen."""
    windows = {
        window.data_id: HeldWindow(
            **{
                "data_id": window.data_id,
                "session_id": "s",
                "state": State.PLANNED,
                "text": window.document.text,
                "turns": window.document.turns,
                "node_set": window.node_set,
                "replaces": window.replaces,
                "attempts": 0,
                "error_code": None,
                "written": False,
                "complete": False,
                "seen_complete": False,
                **state,
            }
        )
        for window in changes.windows
    }
    turns = {
        ref.qa_id: HeldTurn(qa_id=ref.qa_id, hash=ref.hash, data_id=window.data_id)
        for window in changes.windows
        for ref in window.document.turns
    }
    return HeldSession(windows=windows, turns=turns)


def hide(text: str) -> Redacted:
    return Redacted(text.replace("answer", "[x]"), {"x": text.count("answer")})


EMPTY = HeldSession(windows={}, turns={})
IN_GRAPH = {"written": True, "complete": True, "seen_complete": True}


def ids(changes: Changes) -> list[list[str]]:
    return [[ref.qa_id for ref in window.document.turns] for window in changes.windows]


def test_windows_hold_at_most_so_many_turns():
    changes = plan(cached(*(turn(name) for name in "abcdefg")), EMPTY)
    assert ids(changes) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]


def test_windows_hold_at_most_so_many_characters_and_a_longer_turn_is_one_by_itself():
    changes = plan(cached(turn("a"), turn("long", "x" * 1000), turn("b"), turn("c")), EMPTY)
    assert ids(changes) == [["a"], ["long"], ["b", "c"]]


def test_nothing_changes_when_every_turn_is_held():
    session = cached(turn("a"), turn("b"))
    assert not plan(session, frozen(plan(session, EMPTY)))


def test_an_edited_turn_and_the_documents_other_turns_replace_the_document():
    before = frozen(plan(cached(turn("a"), turn("b")), EMPTY), **IN_GRAPH)
    (old,) = before.windows
    changes = plan(cached(turn("a"), turn("b", "another answer")), before)
    assert changes.supersedes == {old}
    assert ids(changes) == [["a", "b"]]
    assert changes.windows[0].replaces == old
    assert "another answer" in changes.windows[0].document.text
    assert changes.windows[0].data_id != old


def test_an_edit_keeps_the_turns_that_the_cache_has_lost():
    before = frozen(plan(cached(turn("gone"), turn("b")), EMPTY), **IN_GRAPH)
    changes = plan(cached(turn("b", "another answer")), before)
    assert ids(changes) == [["gone", "b"]]
    assert "What is gone?" in changes.windows[0].document.text


def test_an_edited_turn_of_a_forgotten_document_comes_back_alone():
    before = frozen(plan(cached(turn("a"), turn("b")), EMPTY), seen_complete=True)
    changes = plan(cached(turn("a"), turn("b", "another answer")), before)
    assert ids(changes) == [["b"]]
    assert changes.supersedes == set()


def test_foreign_turns_are_remembered_and_not_planned():
    session = cached(turn("a"), turn("b"), watermark=1)
    changes = plan(session, EMPTY, foreign={"a"})
    assert changes.foreign == {"a": session.turns[0].hash}
    assert ids(changes) == [["b"]]


def test_every_window_has_cognees_node_set_first_and_the_pinned_ones_once():
    session = replace(cached(turn("a")), node_set=("billing", planning.NODE_SET))
    assert plan(session, EMPTY).windows[0].node_set == (planning.NODE_SET, "billing")


def test_a_split_gives_each_turn_its_window_with_the_same_text():
    session = cached(turn("a"), turn("b"))
    (window,) = frozen(plan(session, EMPTY)).windows.values()
    changes = planning.split(TARGET, window)
    assert ids(changes) == [["a"], ["b"]]
    assert all(part.replaces == window.data_id for part in changes.windows)
    assert session.turns[1].text in changes.windows[1].document.text


def test_an_old_document_is_left_over_only_once_its_replacement_is_decided():
    before = frozen(plan(cached(turn("a")), EMPTY), **IN_GRAPH)
    (old,) = before.windows.values()
    changes = plan(cached(turn("a", "another answer")), before)
    for state, expected in [
        ({}, []),
        (IN_GRAPH, [old.data_id]),
        ({"state": State.QUARANTINED}, [old.data_id]),
    ]:
        after = frozen(changes, **state)
        after.windows[old.data_id] = replace(old, state=State.SUPERSEDED)
        assert list(planning.leftovers(after)) == expected


def test_an_old_document_waits_for_every_part_of_a_split_replacement():
    before = frozen(plan(cached(turn("a"), turn("b")), EMPTY), **IN_GRAPH)
    (old,) = before.windows.values()
    changes = plan(cached(turn("a"), turn("b", "another answer")), before)
    middle = frozen(changes)
    (replacement,) = middle.windows.values()
    parts = planning.split(TARGET, replacement)
    first, second = frozen(parts).windows.values()
    windows = {
        old.data_id: replace(old, state=State.SUPERSEDED),
        replacement.data_id: replace(replacement, state=State.SUPERSEDED),
        first.data_id: replace(first, written=True, complete=True),
        second.data_id: second,
    }
    assert list(planning.leftovers(HeldSession(windows=windows, turns={}))) == []
    windows[second.data_id] = replace(second, state=State.QUARANTINED)
    assert list(planning.leftovers(HeldSession(windows=windows, turns={}))) == [old.data_id]


def test_a_turn_is_settled_when_its_very_words_are_in_the_dataset_or_were_removed_on_purpose():
    session = cached(turn("a"))
    digest = session.turns[0].hash
    for state, expected in [({}, False), (IN_GRAPH, True), ({"seen_complete": True}, True)]:
        held = frozen(plan(session, EMPTY), **state)
        assert planning.is_settled(held, "a", digest) is expected
        assert not planning.is_settled(held, "a", "another hash")
    assert not planning.is_settled(EMPTY, "a", digest)


@pytest.mark.parametrize("other", ["dataset_id", "owner_id", "session_id", "turns", "replaces"])
def test_a_documents_id_is_what_it_is(other):
    what = {
        "dataset_id": UUID(int=1),
        "owner_id": UUID(int=2),
        "session_id": "s:1",
        "turns": [("q", "h")],
        "replaces": None,
    }
    changed = {
        "dataset_id": UUID(int=9),
        "owner_id": UUID(int=9),
        "session_id": "s",
        "turns": [("q", "h"), ("r", "i")],
        "replaces": UUID(int=3),
    }
    assert document.data_id(**what) == document.data_id(**what)
    assert document.data_id(**what) != document.data_id(**{**what, other: changed[other]})


def test_turns_are_cut_out_of_a_document_as_they_were_put_in():
    turns = [turn("a", "Question: a trap\n\nAnswer: "), turn("b", "ünï 🦊"), turn("c", "")]
    made = document.render("s", [one.redacted(None) for one in turns])
    assert [one.text for one in document.turns_of(made.text, made.turns)] == [one.text for one in turns]


def test_the_hash_of_a_turns_text_proves_it_in_its_document_and_is_none_where_it_was_not_noted():
    made = document.render("s", [turn("a").redacted(None), turn("b", "ünï 🦊 \ud83e").redacted(hide)])
    for ref in made.turns:
        assert ref.text_hash == document.text_hash(made.text[slice(*ref.span)])
    (ref, _) = made.turns
    before = ref.model_dump(mode="json", exclude={"text_hash"})
    assert TurnRef.model_validate(before).text_hash is None


def test_an_entry_without_an_id_is_named_by_its_content_and_time():
    one = CachedTurn.of(qa_id=None, question="q", answer="a", time="t")
    assert one.qa_id == CachedTurn.of(qa_id=None, question="q", answer="a", time="t").qa_id
    assert one.qa_id != CachedTurn.of(qa_id=None, question="q", answer="a", time="u").qa_id


def test_the_bare_text_of_a_turn_is_what_cognees_own_path_writes():
    assert turn("a").bare_text == question_and_answer("What is a?", "an answer")
    assert turn("a").redacted(hide).bare_text == question_and_answer("What is a?", "an [x]")


def test_an_unfinished_window_whose_turns_cognee_stored_meanwhile_gives_them_up_and_keeps_the_rest():
    session = cached(turn("a"), turn("b"))
    held = frozen(plan(session, EMPTY), unsettled=True)
    assert [one.qa_id for one in planning.unsettled_turns(session, held)] == ["a", "b"]
    changes = plan(session, held, foreign={"a"})
    assert changes.supersedes == set(held.windows)
    assert changes.foreign == {"a": turn("a").hash}
    assert ids(changes) == [["b"]]
    assert plan(session, held, foreign={"a", "b"}).windows == []


def test_a_document_is_left_over_when_cognee_stored_all_its_turns_and_not_when_its_successors_are_lost():
    session = cached(turn("a"))
    changes = plan(session, EMPTY)
    held = frozen(changes, **IN_GRAPH, state=State.SUPERSEDED)
    assert list(planning.leftovers(held)) == []
    foreign = {"a": HeldTurn(qa_id="a", hash=turn("a").hash, data_id=None)}
    assert list(planning.leftovers(HeldSession(windows=held.windows, turns=foreign))) == list(held.windows)


def test_only_what_is_to_be_frozen_is_masked_and_its_hash_is_of_what_was_said():
    seen = []

    def hook(text: str) -> Redacted:
        seen.append(text)
        return hide(text)

    before = plan(cached(turn("a"), turn("b")), EMPTY, redact=hook)
    assert before.masked == {"x": 2}
    (window,) = before.windows
    assert "answer" not in window.document.text
    assert [ref.hash for ref in window.document.turns] == [turn("a").hash, turn("b").hash]
    seen.clear()
    again = plan(cached(turn("a"), turn("b"), turn("c"), turn("d")), frozen(before), foreign={"d"}, redact=hook)
    assert ids(again) == [["c"]]
    assert seen == ["What is c?", "an answer"]
    assert again.masked == {"x": 1}


def test_in_a_document_that_is_replaced_what_was_masked_stays_and_what_was_not_is_masked():
    edit = cached(turn("a"), turn("b", "another answer"))
    masked = frozen(plan(cached(turn("a"), turn("b")), EMPTY, redact=hide), **IN_GRAPH)
    (window,) = plan(edit, masked).windows
    assert "an [x]" in window.document.text
    assert "another answer" in window.document.text
    said = frozen(plan(cached(turn("gone"), turn("a"), turn("b")), EMPTY), **IN_GRAPH)
    changes = plan(edit, said, redact=hide)
    (window,) = changes.windows
    # What the cache has lost is known by its document alone.
    assert window.document.text.count("an answer") == 1
    assert changes.masked == {"x": 2}


def test_nothing_is_planned_of_a_session_whose_redaction_fails():
    def fails(text: str) -> Redacted:
        raise RedactionFailed(hook="a:b", kind="ValueError")

    with pytest.raises(RedactionFailed):
        plan(cached(turn("a")), EMPTY, redact=fails)
    assert not plan(cached(turn("a")), frozen(plan(cached(turn("a")), EMPTY)), redact=fails)


def test_the_turns_of_cognees_own_documents_are_known_by_their_hashes():
    turns = [turn("a"), turn("b", "ünï\n\n🦊"), turn("a"), turn("c", "")]
    text = document.header("s") + "".join(one.bare_text for one in turns)
    assert document.hashes_in(text) == Counter(one.hash for one in turns)
    assert document.hashes_in(document.header("s")) == {}
