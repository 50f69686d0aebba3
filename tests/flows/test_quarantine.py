"""I3: a session the LLM refuses is set apart, and nobody else notices, in this run and every later one."""

import pytest

from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests import double
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


async def refused_session(world, llm) -> str:
    session = new_session()
    await world.say(session, question="What is Poison?")
    llm.refuse("Poison")
    return session


async def test_a_refused_session_is_quarantined_and_the_others_are_persisted(world, llm):
    bad, good = await refused_session(world, llm), new_session()
    await world.say(good)
    report = await persist(world, bad, good)
    assert outcomes(report) == {bad: Outcome.QUARANTINED, good: Outcome.PERSISTED}
    refused = next(session for session in report.sessions if session.session_id == bad)
    assert refused.newly_quarantined
    assert "session-memory retry" in (refused.error or "")
    assert (await world.stored()).keys() == world.said.keys()
    assert await world.times("Poison") == (0, 0)


async def test_one_poisoned_turn_does_not_quarantine_the_others_of_its_window(world, llm):
    session = new_session()
    for _ in range(2):
        await world.say(session)
    await world.say(session, question="What is Poison?")
    await world.say(session)
    llm.refuse("Poison")
    report = await persist(world, session)
    assert (report.turns_persisted, report.sessions[0].turns_quarantined) == (3, 1)
    stored = await world.stored()
    assert sorted(stored.values()) == [(0, 0), (1, 1), (1, 1), (1, 1)]


async def test_the_dataset_stays_usable_for_cognee_itself(world, llm):
    import cognee

    bad = await refused_session(world, llm)
    await persist(world, bad)
    await cognee.add("Somebody adds a Document.", dataset_id=world.dataset.id, user=world.user)
    await cognee.cognify(datasets=[world.dataset.id], user=world.user)
    assert await world.times("Somebody adds") == (1, 1)


async def test_a_quarantined_turn_that_is_accepted_later_is_persisted_once(world, llm):
    bad = await refused_session(world, llm)
    await persist(world, bad)
    llm.heal()
    assert outcomes(await persist(world, bad)) == {bad: Outcome.PERSISTED}
    assert await world.all_stored_once()


async def test_a_quarantined_session_is_tried_again_when_asked(world, llm):
    from session_memory import errors
    from session_memory.quarantine import release

    bad = await refused_session(world, llm)
    for _ in range(get_settings().quarantine_attempts):
        await persist(world, bad)
    llm.heal()
    assert outcomes(await persist(world, bad)) == {bad: Outcome.NOTHING_NEW}
    assert await release(None, bad, str(world.dataset.id)) == 1
    assert outcomes(await persist(world, bad)) == {bad: Outcome.PERSISTED}
    with pytest.raises(errors.WindowNotFound):
        await release(None, bad, str(world.dataset.id))


async def test_new_turns_of_a_quarantined_session_are_persisted(world, llm):
    bad = await refused_session(world, llm)
    await persist(world, bad)
    await world.say(bad)
    report = await persist(world, bad)
    assert (report.turns_persisted, report.sessions[0].turns_quarantined) == (1, 1)


async def test_editing_the_poison_away_persists_the_turn(world, llm):
    session = new_session()
    qa_id = await world.say(session, question="What is Poison?")
    llm.refuse("Poison")
    await persist(world, session)
    await world.edit(session, qa_id)
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    assert await world.all_stored_once()


@pytest.mark.parametrize(
    ("error", "code"), [(double.key_refused, "llm_key_refused"), (double.quota_spent, "llm_quota_spent")]
)
async def test_a_refused_key_and_a_spent_quota_stop_the_run_at_once_and_lose_nothing(world, llm, error, code):
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await world.say(session)
    llm.fail("Marker", error)
    report = await persist(world, *sessions)
    assert set(outcomes(report).values()) == {Outcome.FAILED}
    assert {session.error_code for session in report.sessions} == {code}
    # Two calls a document, each made once: nothing was tried again.
    assert len(llm.calls) <= 2 * len(sessions)
    assert await world.documents() == []
    llm.heal()
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    assert await world.all_stored_once()


async def test_a_stopped_run_does_not_begin_its_other_groups(world, llm, monkeypatch):
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await world.say(session)
    llm.fail("Marker", double.key_refused)
    settings = get_settings().model_copy(update={"windows_per_group": 1})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    report = await persist(world, *sessions)
    assert set(outcomes(report).values()) == {Outcome.FAILED}
    assert len(llm.calls) <= 2


async def test_a_provider_that_calls_every_request_malformed_stops_the_run_and_quarantines_nothing(world, llm):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    llm.fail("Marker", lambda: double.litellm.BadRequestError("no such model", double.MODEL, double.PROVIDER))
    report = await persist(world, *sessions)
    assert {session.error_code for session in report.sessions} == {"llm_rejects_everything"}
    assert sum(session.turns_quarantined for session in report.sessions) == 0
    llm.heal()
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
