"""An LLM, or an embedding model, that fails: bounded calls, bounded time, and nobody else notices."""

import itertools
import time
from collections import Counter

import pytest

from session_memory import llm as llm_policy
from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests import double
from tests.running import outcomes, persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def patient():
    """A budget for repeating failing calls that a test can wait for."""
    llm_policy.bound_retries(4)
    yield
    llm_policy.bound_retries(get_settings().llm_retry_seconds)


async def said(world: World, *questions: str | None) -> list[str]:
    """A session for each question."""
    sessions = [new_session() for _ in questions]
    for session, question in zip(sessions, questions, strict=True):
        await world.say(session, question)
    return sessions


def poison(llm: double.Double) -> int:
    return sum("Poison" in text for _, text in llm.calls)


@pytest.mark.fault("LLM 500 twice, then fine")
async def test_an_llm_that_fails_twice_is_tried_again_and_no_more_than_needed(world, llm, count, patient):
    bad, good = await said(world, "What is Poison?", None)
    llm.fail("Poison", double.broken, times=2)
    report = await persist(world, bad, good)
    assert set(outcomes(report).values()) == {Outcome.PERSISTED}
    assert poison(llm) == 4
    await count(world)


@pytest.mark.fault("LLM 429 with Retry-After")
async def test_an_llm_that_asks_to_wait_is_waited_for(world, llm, count, patient):
    # By itself the first wait would be half a second.
    llm_policy.bound_retries(2)
    (session,) = await said(world, None)
    llm.fail("Marker", lambda: double.too_many(retry_after=1.5), times=1)
    at = []
    llm.on_call = lambda: at.append(time.monotonic())
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    assert len(at) == 3
    assert max(later - earlier for earlier, later in itertools.pairwise(at)) >= 1.5
    await count(world)


@pytest.mark.fault("LLM 500 for good")
async def test_a_text_that_always_fails_the_llm_costs_bounded_calls_and_stays_pending(world, llm, count):
    bad, good = await said(world, "What is Poison?", None)
    llm.fail("Poison", double.broken)
    report = await persist(world, bad, good)
    assert outcomes(report) == {bad: Outcome.FAILED, good: Outcome.PERSISTED}
    assert (report.sessions[0].error_code, report.sessions[0].turns_pending) == ("llm_unavailable", 1)
    # Two calls a document, each made twice: cognee's own retries, and none of ours on top.
    assert poison(llm) <= 4
    llm.heal()
    assert outcomes(await persist(world, bad)) == {bad: Outcome.PERSISTED}
    await count(world)


@pytest.mark.long
@pytest.mark.fault("LLM down for everything")
async def test_an_llm_that_is_down_stops_the_run_instead_of_being_asked_for_every_session(
    world, llm, count, monkeypatch
):
    sessions = await said(world, *[None] * 6)
    llm.fail("Marker", double.broken)
    settings = get_settings().model_copy(update={"windows_per_group": 1})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    report = await persist(world, *sessions)
    assert {session.error_code for session in report.sessions} == {"llm_unavailable"}
    assert len(llm.calls) <= 2 * 4
    llm.heal()
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)


@pytest.mark.long
@pytest.mark.fault("windows that always fail, in front")
async def test_windows_that_always_fail_do_not_keep_the_others_waiting_for_ever(world, llm, count, monkeypatch):
    bad = await said(world, "What is Poison?", "What is Poison twice?")
    (good,) = await said(world, None)
    llm.fail("Poison", double.broken)
    settings = get_settings().model_copy(update={"windows_per_group": 1})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    assert outcomes(await persist(world, *bad, good))[good] == Outcome.FAILED
    assert outcomes(await persist(world, *bad, good))[good] == Outcome.PERSISTED
    llm.heal()
    await persist(world, *bad)
    await count(world)


@pytest.mark.long
@pytest.mark.fault("two of a group that always fail")
async def test_failing_windows_beside_stored_ones_are_no_outage(world, llm, count, monkeypatch):
    bad = await said(world, "What is Poison?", "What is Poison twice?")
    good = await said(world, None, None)
    llm.fail("Poison", double.broken)
    settings = get_settings().model_copy(update={"windows_per_group": 3})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    report = await persist(world, *bad, *good)
    assert list(outcomes(report).values()) == [Outcome.FAILED] * 2 + [Outcome.PERSISTED] * 2
    llm.heal()
    assert set(outcomes(await persist(world, *bad)).values()) == {Outcome.PERSISTED}
    await count(world)


@pytest.mark.parametrize(
    "answer",
    [
        '{"nodes": [{"id": "a", "na',
        *(
            pytest.param(text, marks=pytest.mark.long)
            for text in ("I would rather not.", '{"nodes": 7, "summary": []}')
        ),
    ],
)
@pytest.mark.fault("LLM answers with malformed or truncated JSON")
async def test_an_answer_that_cannot_be_read_is_asked_for_again(world, llm, count, answer):
    bad, good = await said(world, "What is Poison?", None)
    llm.answer("Poison", answer, times=2)
    report = await persist(world, bad, good)
    assert set(outcomes(report).values()) == {Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("LLM answers with malformed JSON for good")
async def test_answers_that_can_never_be_read_set_one_turn_apart_in_bounded_calls(world, llm, count):
    (session,) = await said(world, None)
    await world.say(session, "What is Poison?")
    (other,) = await said(world, None)
    llm.answer("Poison", "{")
    report = await persist(world, session, other)
    assert outcomes(report) == {session: Outcome.QUARANTINED, other: Outcome.PERSISTED}
    assert report.sessions[0].error_code == "answer_unreadable"
    assert (report.sessions[0].turns_persisted, report.sessions[0].turns_quarantined) == (1, 1)
    # The window and then its one turn, two questions each, each asked once and corrected three times.
    assert poison(llm) <= 2 * 2 * 4
    llm.heal()
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("an LLM call that hangs")
@pytest.mark.long
async def test_a_call_that_hangs_is_ended_once_and_the_finished_windows_stay(world, llm, count, monkeypatch):
    bad, good = await said(world, "What is Poison?", None)
    llm.hanging = "Poison"
    settings = get_settings().model_copy(update={"commit_grace_seconds": 6.0, "llm_retry_seconds": 0.0})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    started = time.monotonic()
    report = await persist(world, bad, good)
    assert time.monotonic() - started < 20
    assert outcomes(report) == {bad: Outcome.FAILED, good: Outcome.PERSISTED}
    assert report.sessions[0].error_code == "write_took_too_long"
    monkeypatch.undo()
    llm.heal()
    assert outcomes(await persist(world, bad)) == {bad: Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("payment required in mid-run")
@pytest.mark.long
async def test_a_spent_budget_in_mid_run_stops_it_and_the_next_run_repeats_no_call(world, llm, count, monkeypatch):
    sessions = await said(world, None, None, "What is Poison?", None, None)
    llm.fail("Poison", double.quota_spent)
    settings = get_settings().model_copy(update={"windows_per_group": 1})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    report = await persist(world, *sessions)
    assert list(outcomes(report).values()) == [Outcome.PERSISTED] * 2 + [Outcome.FAILED] * 3
    assert {session.error_code for session in report.sessions[2:]} == {"llm_quota_spent"}
    first = Counter(llm.calls)
    assert not [text for _, text in first if any(world.said[qa_id] in text for qa_id in list(world.said)[3:])]
    llm.calls.clear()
    llm.heal()
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.NOTHING_NEW, Outcome.PERSISTED}
    # What was refused is asked again; nothing that had been answered.
    assert not [text for _, text in (first & Counter(llm.calls)) if "Poison" not in text]
    await count(world)


@pytest.mark.fault("embedding service down in mid-run")
async def test_embeddings_that_fail_in_mid_run_leave_nothing_half_visible_to_search(world, llm, count, monkeypatch):
    import cognee
    from cognee.infrastructure.databases.exceptions import EmbeddingException
    from cognee.infrastructure.databases.vector.embeddings.FastembedEmbeddingEngine import FastembedEmbeddingEngine

    sessions = await said(world, None, None)
    embed, embedded = FastembedEmbeddingEngine.embed_text, []

    async def then_down(self, text):
        embedded.append(text)
        if len(embedded) > 2:
            raise EmbeddingException("connection refused")
        return await embed(self, text)

    monkeypatch.setattr(FastembedEmbeddingEngine, "embed_text", then_down)
    report = await persist(world, *sessions)
    assert set(outcomes(report).values()) == {Outcome.FAILED}
    assert len(embedded) > 2
    monkeypatch.undo()
    assert await world.nodes() == []
    assert await world.documents() == []
    for question in world.said.values():
        assert question not in str(
            await cognee.search(
                question,
                query_type=cognee.SearchType.CHUNKS,
                datasets=[world.dataset.name],
                user=world.user,
            )
        )
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)
