"""`session-memory forget`: what was said is in no row, vector, file or graph node any more, and does not come back."""

import pytest

from session_memory import errors
from session_memory.forget_report import ForgetReport
from session_memory.forgetting import forget
from session_memory.models import Outcome
from session_memory.settings import get_settings
from session_memory.verification import verify
from tests.conftest import HOME
from tests.running import outcomes, persist, target_of
from tests.world import World, all_rows, files_below, new_session

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")

MARKER = "Zebrafoo"


async def forgotten(world: World, session: str, turn: str | None = None, *, cache: bool = False) -> ForgetReport:
    return await forget(await target_of(world), session, turn=turn, cache=cache, settings=get_settings())


async def traces(world: World, marker: str = MARKER) -> list[str]:
    """Where a word stands: tables, nodes of the graph, every byte of every file below this test's home.

    Not the files of a Postgres or Redis server, which keep what was deleted until they clean up.
    """
    tables = (*(await all_rows()).items(), *(await world.vector_rows()).items())
    found = [table for table, rows in tables if marker.lower() in str(rows).lower()]
    found += [f"node {node['id']}" for node in await world.nodes() if marker.lower() in str(node).lower()]
    files = [path for path in files_below(HOME) if HOME / "stores" not in path.parents]
    return found + [str(path) for path in files if marker.lower().encode() in path.read_bytes().lower()]


async def test_a_session_leaves_no_trace_and_others_stay(llm):
    world, session, other = await World.own(), new_session(), new_session()
    marker = f"{MARKER}Session"
    for answer in (f"{marker} is a striped thing.", f"Graz is where {marker} lives."):
        await world.say(session, question=f"What is {marker}?", answer=answer)
    await world.say(other, answer="Graz is a town.")
    await persist(world, session, other)
    await world.say(session, question=f"Is {marker} pending?")
    await world.say(other)
    assert len(await traces(world, marker)) > 5
    report = await forgotten(world, session, cache=True)
    assert (report.turns_forgotten, report.documents_removed, report.files_in_use) == (3, 1, ())
    assert await traces(world, marker) == []
    llm.calls.clear()
    assert outcomes(await persist(world, session, other)) == {
        session: Outcome.NOTHING_NEW,
        other: Outcome.PERSISTED,
    }
    proof = await verify(await target_of(world), None, get_settings())
    assert (proof.turns, proof.problems) == (2, ())


async def test_what_the_cache_still_holds_does_not_come_back_and_what_is_said_later_is_taken(llm):
    world, session = await World.own(), new_session()
    first = await world.say(session)
    await persist(world, session)
    second = await world.say(session)
    report = await forgotten(world, session)
    assert report.turns_forgotten == 2
    assert "`--cache`" in report.asstr()
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    third = await world.say(session)
    await persist(world, session)
    stored = await world.stored()
    assert [stored[qa_id] for qa_id in (first, second, third)] == [(0, 0), (0, 0), (1, 1)]
    assert (await forgotten(world, session)).turns_forgotten == 1
    assert (await forgotten(world, session)).turns_forgotten == 0


@pytest.mark.parametrize("state", ["persisted", "pending", "quarantined"])
async def test_one_turn_goes_and_the_others_of_its_document_stay(llm, state):
    world, session = await World.own(), new_session()
    marker = f"{MARKER}{state}"
    keep = await world.say(session)
    gone = await world.say(session, question=f"What is {marker}?")
    keep_too = await world.say(session)
    if state == "quarantined":
        llm.refuse(marker)
    if state != "pending":
        await persist(world, session)
    report = await forgotten(world, session, gone, cache=True)
    assert report.turns_forgotten == 1
    assert await traces(world, marker) == []
    await persist(world, session)
    stored = await world.stored()
    assert [stored[qa_id] for qa_id in (keep, gone, keep_too)] == [(1, 1), (0, 0), (1, 1)]
    assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}


async def test_an_edited_turn_leaves_neither_of_its_forms(llm):
    world, session = await World.own(), new_session()
    marker = f"{MARKER}Edited"
    qa_id = await world.say(session, question=f"What is {marker}Old?")
    await persist(world, session)
    await world.edit(session, qa_id, f"What is {marker}New?")
    assert (await forgotten(world, session, qa_id, cache=True)).turns_forgotten == 1
    assert await traces(world, marker) == []


async def test_what_is_not_there_is_named_and_other_users_are_out_of_reach(llm):
    world, other, session = await World.own(), await World.own(), new_session()
    await world.say(session)
    await persist(world, session)
    with pytest.raises(errors.SessionNotFound):
        await forgotten(world, "no such session")
    with pytest.raises(errors.TurnNotFound):
        await forgotten(world, session, "no such turn")
    with pytest.raises(errors.SessionNotFound):
        await forgotten(other, session)
    assert await world.all_stored_once()


async def test_a_session_that_cannot_be_read_whole_keeps_everything_and_says_why(llm):
    world, session = await World.own(), new_session()
    await world.say(session)
    await persist(world, session)
    await world.say(session, question="What is Poison?")
    settings = get_settings().model_copy(update={"redact": "tests.flows.test_redaction:breaks_at_poison"})
    with pytest.raises(errors.SessionMemoryError) as refused:
        await forget(await target_of(world), session, turn=None, cache=True, settings=settings)
    assert refused.value.code == "redaction_failed"
    assert len(await world.cached(session)) == 2
    assert sorted((await world.stored()).values()) == [(0, 0), (1, 1)]
