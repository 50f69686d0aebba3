"""What `session-memory status` says of sessions, from the real cache, ledger and dataset."""

import cognee
import pytest

from session_memory.settings import get_settings
from session_memory.status import SessionStatus, status
from tests import double
from tests.running import persist
from tests.world import World, all_rows, expire_in, new_session

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


async def status_of(world: World, session: str) -> SessionStatus:
    report = await status([world.user.email], [str(world.dataset.id)], [session], get_settings())
    (found,) = report.sessions
    return found


def turns(found: SessionStatus) -> dict[str, int]:
    """What became of its turns; what is 0 left out."""
    numbers = {name.removeprefix("turns_"): number for name, number in found if name.startswith("turns_")}
    return {name: number for name, number in numbers.items() if number}


async def test_a_turn_is_pending_then_persisted_then_gone_from_the_cache_then_removed(llm):
    world, session = await World.own(), new_session()
    await world.say(session)
    await expire_in(world, session, 30)
    found = await status_of(world, session)
    assert turns(found) == {"cached": 1, "pending": 1}
    assert found.expires_at is not None
    await persist(world, session)
    assert turns(await status_of(world, session)) == {"cached": 1, "persisted": 1}
    await world.expire(session)
    found = await status_of(world, session)
    assert (turns(found), found.expires_at) == ({"persisted": 1}, None)
    (document,) = await world.documents()
    await cognee.forget(data_id=document.id, dataset=world.dataset.name, user=world.user)
    assert turns(await status_of(world, session)) == {"removed": 1}


async def test_an_edit_a_refusal_and_a_failure_are_told_apart(llm):
    world = await World.own()
    edited, refused, failing = (new_session() for _ in range(3))
    qa_id = await world.say(edited)
    await world.say(edited)
    await world.say(refused, question="What is Poison?")
    await world.say(failing, question="What is Brokenness?")
    llm.refuse("Poison")
    llm.fail("Brokenness", double.broken)
    await persist(world, edited, refused, failing)
    await world.edit(edited, qa_id)
    assert turns(await status_of(world, edited)) == {"cached": 2, "persisted": 1, "pending": 1}
    assert turns(await status_of(world, refused)) == {"cached": 1, "quarantined": 1}
    await world.expire(failing)
    assert turns(await status_of(world, failing)) == {"pending": 1}


async def test_what_was_said_since_is_pending_in_the_datasets_it_goes_into_alone(llm):
    world, session = await World.own(), new_session()
    copy = await World.new(world.user, "copy")
    await world.say(session)
    await persist(world, session)
    await persist(world, session, dataset=str(copy.dataset.id))
    report = await status([world.user.email], None, None, get_settings())
    assert {one.dataset for one in report.sessions} == {"main_dataset", "copy"}
    assert [turns(one) for one in report.sessions] == [{"cached": 1, "persisted": 1}] * 2
    assert report.counts["persisted"] == 2


async def test_it_writes_nothing_and_says_nothing_of_others(llm):
    world, other, session = await World.own(), await World.own(), new_session()
    await world.say(session)
    await other.say(new_session())
    before = await all_rows()
    report = await status([world.user.email], None, None, get_settings())
    assert [one.session_id for one in report.sessions] == [session]
    assert "pending" in report.asstr()
    assert await all_rows() == before
    assert llm.calls == []
