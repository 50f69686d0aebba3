"""What a run does with what it is given."""

import uuid

import pytest
from prefect import get_client
from prefect.exceptions import ParameterTypeError

from session_memory import errors
from session_memory.models import Outcome
from tests.running import outcomes, persist
from tests.world import World, new_session, new_user

pytestmark = pytest.mark.usefixtures("prefect_server")


async def test_every_turn_is_in_the_graph_exactly_once(world, llm):
    session = new_session()
    for _ in range(3):
        await world.say(session)
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.PERSISTED}
    assert report.turns_persisted == 3
    assert report.llm_calls == len(llm.calls) > 0
    assert await world.all_stored_once()


async def test_the_second_run_finds_nothing_new_and_calls_no_llm(world, llm):
    session = new_session()
    await world.say(session)
    await persist(world, session)
    llm.calls.clear()
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.NOTHING_NEW}
    assert (report.llm_calls, llm.calls) == (0, [])
    assert await world.all_stored_once()


async def test_turns_said_later_are_added_and_the_earlier_ones_not_touched(world, llm):
    session = new_session()
    await world.say(session)
    await persist(world, session)
    await world.say(session)
    report = await persist(world, session)
    assert report.turns_persisted == 1
    assert await world.all_stored_once()


async def test_no_session_ids_extracts_nothing_completes_and_says_so(world, llm):
    from flows.persist_sessions import persist_sessions

    report = await persist_sessions(session_ids=None)
    assert "nothing extracted" in report.summary()
    assert llm.calls == []


async def test_a_failed_run_read_back_from_the_server_still_carries_its_report(world):
    """Awaiting a run does so when its final state had to be sent twice."""
    from flows.persist_sessions import persist_sessions

    ran = await persist_sessions(session_ids=["gone"], dataset=str(world.dataset.id), return_state=True)
    async with get_client() as client:
        kept = (await client.read_flow_run(ran.state_details.flow_run_id)).state
    with pytest.raises(errors.SessionsNotPersisted) as error:
        await kept.aresult()
    assert outcomes(error.value.report) == {"gone": Outcome.NOT_FOUND}


@pytest.mark.parametrize("session_ids", [[], [""], ["  \t"], ["good", " "]])
async def test_an_empty_list_and_blank_ids_are_refused_before_anything_happens(world, session_ids):
    from flows.persist_sessions import persist_sessions

    with pytest.raises(ParameterTypeError, match="session_ids"):
        await persist_sessions(session_ids=session_ids, dataset=world.dataset.name)


async def test_duplicate_ids_and_ids_with_colons_spaces_and_emoji_are_handled_once_each(world):
    odd = ["a:b:c", "a:b", " leading space", "naïve 🦊 session", "agent_sessions:*"]
    odd = [f"{name}{uuid.uuid4().hex[:6]}" for name in odd]
    for session in odd:
        await world.say(session)
    report = await persist(world, *odd, *odd)
    assert outcomes(report) == dict.fromkeys(odd, Outcome.PERSISTED)
    assert await world.all_stored_once()


async def test_an_unknown_user_is_named_with_near_matches_before_any_llm_call(world, llm):
    with pytest.raises(errors.UserNotFound, match="Did you mean default_user@example.com"):
        await persist(world, "s", user="defaultuser@example.com")
    with pytest.raises(errors.UserNotFound):
        await persist(world, "s", user=str(uuid.uuid4()))
    assert llm.calls == []


async def test_an_unknown_dataset_is_named_with_near_matches_and_how_to_create_it(world, llm):
    with pytest.raises(errors.DatasetNotFound, match=f"Did you mean {world.dataset.name}.*CREATE_DATASET"):
        await persist(world, "s", dataset=world.dataset.name[:-1])
    assert llm.calls == []


async def test_a_setting_creates_an_unknown_dataset(world, monkeypatch):
    from session_memory import access
    from session_memory.settings import Settings

    name = f"made-{uuid.uuid4().hex[:8]}"
    target = await access.authorise(None, name, Settings(create_dataset=True))
    assert (target.dataset_name, target.user_id) == (name, world.user.id)


async def test_the_user_is_found_by_email_by_uuid_and_by_default(world):
    session = new_session()
    await world.say(session)
    by_uuid = await persist(world, session, user=str(world.user.id))
    assert outcomes(by_uuid) == {session: Outcome.PERSISTED}
    from flows.persist_sessions import persist_sessions

    by_default = await persist_sessions(session_ids=[session], dataset=world.dataset.name)
    assert outcomes(by_default) == {session: Outcome.NOTHING_NEW}


async def test_another_users_dataset_is_refused_by_uuid_too_with_nothing_read_or_written(world, llm):
    stranger = await World.new(await new_user())
    session = new_session()
    await stranger.say(session)
    with pytest.raises(errors.NoWritePermission):
        await persist(stranger, session, dataset=str(world.dataset.id))
    with pytest.raises(errors.NoWritePermission):
        await persist(stranger, session, dataset=str(uuid.uuid4()))
    assert llm.calls == []
    assert await world.documents() == []


async def test_a_user_who_was_given_the_permission_writes_to_anothers_dataset(world):
    from cognee.modules.users.permissions.methods import give_permission_on_dataset

    guest = await World.new(await new_user())
    await give_permission_on_dataset(guest.user, world.dataset.id, "write")
    session = new_session()
    guest.dataset = world.dataset
    await guest.say(session)
    assert outcomes(await persist(guest, session)) == {session: Outcome.PERSISTED}
    assert await guest.all_stored_once()


async def test_disabled_caching_is_an_error_that_says_what_to_set(world, monkeypatch):
    from cognee.infrastructure.databases.cache.config import get_cache_config

    monkeypatch.setattr(get_cache_config(), "caching", False)
    with pytest.raises(errors.CachingDisabled, match="CACHING"):
        await persist(world, "s")


async def test_an_unreachable_cache_is_tried_again_and_then_named(world, monkeypatch):
    from cognee.infrastructure.session.get_session_manager import get_session_manager

    reads = []

    async def unreachable(*args, **kwargs):
        reads.append(args)
        raise ConnectionRefusedError("a text that must not get out")

    monkeypatch.setattr(get_session_manager()._cache, "get_all_qa_entries", unreachable)
    with pytest.raises(errors.CacheUnreachable, match="CACHE_HOST") as caught:
        await persist(world, "s")
    assert len(reads) == 3
    assert "must not get out" not in str(caught.value)


async def test_unknown_sessions_are_not_found_the_others_persisted_and_the_run_fails_with_the_counts(world):
    from flows.persist_sessions import persist_sessions

    session, unknown = new_session(), new_session()
    await world.say(session)
    state = await persist_sessions(session_ids=[session, unknown], dataset=world.dataset.name, return_state=True)
    assert state.is_failed()
    assert "1 not found, 1 persisted" in (state.message or "")
    assert await world.all_stored_once()


async def test_a_session_the_ledger_knows_has_nothing_new_even_when_its_cache_expired(world):
    session = new_session()
    await world.say(session)
    await persist(world, session)
    await world.expire(session)
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    assert await world.all_stored_once()


async def test_an_unreadable_session_fails_alone(world, monkeypatch):
    from cognee.infrastructure.session.get_session_manager import get_session_manager

    good, bad = new_session(), new_session()
    await world.say(good)
    cache = get_session_manager()._cache
    read = cache.get_all_qa_entries

    async def unreadable(user_id, session_id):
        if session_id == bad:
            raise KeyError("question")
        return await read(user_id, session_id)

    monkeypatch.setattr(cache, "get_all_qa_entries", unreadable)
    report = await persist(world, bad, good)
    assert outcomes(report) == {bad: Outcome.FAILED, good: Outcome.PERSISTED}


async def test_in_the_background_needs_a_deployment(world):
    from flows.persist_sessions import persist_sessions

    with pytest.raises(errors.NeedsDeployment):
        await persist_sessions(session_ids=["s"], run_in_background=True)


async def test_windows_are_capped_by_turns_and_by_characters(world, monkeypatch):
    from session_memory.settings import get_settings

    settings = get_settings().model_copy(update={"turns_per_window": 2, "characters_per_window": 500})
    monkeypatch.setattr("tasks.extract_user_sessions.get_settings", lambda: settings)
    session = new_session()
    for _ in range(3):
        await world.say(session)
    long = new_session()
    for _ in range(2):
        await world.say(long, answer="word " * 60)
    await persist(world, session, long)
    assert len(await world.documents()) == 4
    assert await world.all_stored_once()


async def test_documents_carry_the_pinned_node_set_the_times_and_enough_to_rebuild_the_ledger(world):
    from cognee.infrastructure.session.get_session_manager import get_session_manager
    from cognee.infrastructure.session.session_node_set import pin_session_node_set

    session = new_session()
    await pin_session_node_set(get_session_manager(), str(world.user.id), session, ["billing"])
    qa_id = await world.say(session)
    await persist(world, session)
    (row,) = await world.documents()
    (text,) = await world.document_texts()
    assert text.startswith(f"Session ID: {session}\n\nTime: 20")
    assert f"Question: {world.said[qa_id]}\n\nAnswer: " in text
    assert row.external_metadata["node_set"] == ["user_sessions_from_cache", "billing"]
    assert row.external_metadata["session_id"] == session
    assert row.external_metadata["owner_id"] == str(world.user.id)
    assert [turn["qa_id"] for turn in row.external_metadata["turns"]] == [qa_id]
    assert {"hash", "time"} <= row.external_metadata["turns"][0].keys()
    chunks = [node for node in await world.nodes() if node.get("type") == "DocumentChunk"]
    assert all(qa_id in str(chunk["external_metadata"]) for chunk in chunks)
