"""I1 and I6: whatever happens to the cache, the dataset and beside us, each turn is in the graph exactly once."""

import cognee
import pytest

from session_memory.models import Outcome
from tests.running import outcomes, persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_a_deleted_turn_does_not_hide_a_new_one(world):
    session = new_session()
    first = await world.say(session)
    await world.say(session)
    await persist(world, session)
    await world.delete(session, first)
    await world.say(session)
    report = await persist(world, session)
    assert report.turns_persisted == 1
    assert await world.all_stored_once()


async def test_an_edited_turn_is_there_with_its_new_text_once_and_with_its_old_text_not_at_all(world):
    session = new_session()
    await world.say(session)
    edited = await world.say(session)
    await world.say(session)
    old = world.said[edited]
    await persist(world, session)
    await world.edit(session, edited)
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.PERSISTED}
    assert await world.all_stored_once()
    assert await world.times(old) == (0, 0)
    assert len(await world.documents()) == 1


async def test_an_edit_that_is_taken_back_is_an_edit_too(world):
    session = new_session()
    qa_id = await world.say(session)
    original = world.said[qa_id]
    await persist(world, session)
    await world.edit(session, qa_id)
    await persist(world, session)
    await world.edit(session, qa_id, original)
    await persist(world, session)
    assert await world.times(original) == (1, 1)
    assert len(await world.documents()) == 1


async def test_an_edit_after_the_session_expired_in_part_keeps_the_turns_that_are_gone(world):
    session = new_session()
    gone = await world.say(session)
    edited = await world.say(session)
    await persist(world, session)
    await world.delete(session, gone)
    await world.edit(session, edited)
    await persist(world, session)
    assert await world.all_stored_once()


async def test_an_edit_after_the_frozen_text_was_purged_keeps_the_other_turns(world, monkeypatch):
    from session_memory import ledger
    from session_memory.access import authorise
    from session_memory.settings import get_settings

    session = new_session()
    # Two characters each in the document; one each to whoever reads it as text.
    await world.say(session, question="What" + "\r\n" * 200 + "is Width?")
    gone = await world.say(session)
    edited = await world.say(session)
    await persist(world, session)
    target = await authorise(None, str(world.dataset.id), get_settings())
    assert await ledger.purge_texts(target, older_than_days=0) == 1
    await world.delete(session, gone)
    await world.edit(session, edited)
    await persist(world, session)
    assert [await world.times(world.said[qa_id]) for qa_id in (gone, edited)] == [(1, 1), (1, 1)]
    (text,) = await world.document_texts()
    assert text.count("Time: ") == text.count("\n\nQuestion: ") == 3


async def test_feedback_on_a_turn_is_no_edit(world, llm):
    from cognee.infrastructure.session.get_session_manager import get_session_manager

    session = new_session()
    qa_id = await world.say(session)
    await persist(world, session)
    llm.calls.clear()
    await get_session_manager().add_feedback(
        user_id=str(world.user.id), session_id=session, qa_id=qa_id, feedback_text="good", feedback_score=5
    )
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    assert llm.calls == []


async def test_the_same_words_said_twice_are_two_turns(world):
    session = new_session()
    for _ in range(2):
        await world.say(session, question="Is this the same Parrot?", answer="It is.")
    await persist(world, session)
    assert await world.times("Is this the same Parrot?") == (2, 2)


async def test_the_same_session_persisted_into_two_datasets_is_in_both_once(world):
    session = new_session()
    await world.say(session)
    other = await World.new(world.user)
    other.said = world.said
    await persist(world, session)
    assert outcomes(await persist(other, session)) == {session: Outcome.PERSISTED}
    assert await world.all_stored_once()
    assert await other.all_stored_once()


async def test_a_dataset_deleted_and_made_again_under_its_name_gets_everything_again(world):
    session = new_session()
    await world.say(session)
    name, before = world.dataset.name, world.dataset.id
    await persist(world, session)
    await cognee.datasets.empty_dataset(world.dataset.id, user=world.user)
    again = await World.new(world.user, name)
    assert again.dataset.id == before
    again.said = world.said
    report = await persist(again, session)
    assert outcomes(report) == {session: Outcome.PERSISTED}
    assert await again.all_stored_once()


async def test_a_document_forgotten_on_purpose_is_not_resurrected(world, llm):
    session = new_session()
    await world.say(session)
    await persist(world, session)
    (row,) = await world.documents()
    await cognee.datasets.delete_data(dataset_id=world.dataset.id, data_id=row.id, user=world.user)
    llm.calls.clear()
    await world.say(session)
    report = await persist(world, session)
    assert report.turns_persisted == 1
    assert len(await world.documents()) == 1


async def test_improve_between_two_runs_then_a_deletion_and_a_new_turn_stores_exactly_the_new_turn(world):
    session = new_session()
    first = await world.say(session)
    await world.say(session)
    await persist(world, session)
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    await world.delete(session, first)
    await world.say(session)
    report = await persist(world, session)
    assert report.turns_persisted == 1
    assert await world.all_stored_once()


async def test_what_improve_stored_first_is_not_stored_again(world, llm):
    session = new_session()
    first = await world.say(session)
    await world.say(session)
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    assert await world.all_stored_once()
    llm.calls.clear()
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.NOTHING_NEW}
    assert report.sessions[0].turns_foreign == 2
    assert llm.calls == []
    await world.delete(session, first)
    await world.say(session)
    assert (await persist(world, session)).turns_persisted == 1
    assert await world.all_stored_once()


async def test_a_watermark_alone_is_no_evidence_that_a_turn_is_stored(world):
    from cognee.infrastructure.session.get_session_manager import get_session_manager
    from cognee.infrastructure.session.session_persist_watermark import save_persisted_qa_count

    session = new_session()
    await world.say(session)
    await save_persisted_qa_count(get_session_manager(), str(world.user.id), session, 1)
    assert (await persist(world, session)).turns_persisted == 1
    assert await world.all_stored_once()


async def test_improve_after_a_run_adds_nothing(world):
    session = new_session()
    await world.say(session)
    await persist(world, session)
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    assert await world.all_stored_once()


async def test_superseding_a_window_leaves_unpersisted_turns_of_other_sessions_in_the_cache(world):
    from cognee.infrastructure.session.get_session_manager import get_session_manager

    session, other = new_session(), new_session()
    edited = await world.say(session)
    await persist(world, session)
    # What cognee.forget would match: a turn that used the graph elements of the document to be removed.
    nodes = [node["id"] for node in await world.nodes()]
    await get_session_manager().add_qa(
        user_id=str(world.user.id),
        session_id=other,
        question="Which nodes?",
        context="",
        answer="These.",
        used_graph_element_ids={"node_ids": nodes, "edge_ids": []},
    )
    await world.edit(session, edited)
    await persist(world, session)
    assert len(await world.cached(other)) == 1
    assert await world.all_stored_once()


async def test_what_was_extracted_is_stored_even_when_the_session_expires_before_it_is_written(world, llm):
    from session_memory.access import authorise
    from session_memory.extraction import extract
    from session_memory.settings import get_settings

    session = new_session()
    await world.say(session)
    target = await authorise(None, str(world.dataset.id), get_settings())
    await extract(target, [session], get_settings())
    await world.expire(session)
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    assert await world.all_stored_once()


async def test_a_turn_deleted_from_the_cache_stays_in_the_graph(world):
    session = new_session()
    qa_id = await world.say(session)
    await world.say(session)
    await persist(world, session)
    await world.delete(session, qa_id)
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    assert await world.all_stored_once()
