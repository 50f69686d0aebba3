"""Everything pending is found, for every user, and persisted, the soonest to expire first."""

from datetime import timedelta

import pytest
from cognee.infrastructure.databases.cache.get_cache_engine import get_cache_engine
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.modules.session_lifecycle.models import SessionRecord
from cognee.modules.users.models import User
from sqlalchemy import delete

from session_memory.backlog import Reason
from session_memory.errors import SessionsNotPersisted
from session_memory.pending_report import PendingReport
from tests import double
from tests.running import outcomes, persist
from tests.world import World, expire_in, new_session, new_user

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


async def pending(*worlds: World, **parameters) -> PendingReport:
    """Run the flow over the worlds' users; its report, whether it failed or not."""
    from flows.persist_pending_sessions import persist_pending_sessions

    users = [world.user.email for world in worlds] if worlds else None
    try:
        return await persist_pending_sessions(**{"users": users} | parameters)
    except SessionsNotPersisted as error:
        assert isinstance(error.report, PendingReport)
        return error.report


async def record(world: World, session_id: str) -> None:
    """What cognee notes when a session is used with a dataset."""
    async with get_relational_engine().get_async_session() as session:
        await session.merge(SessionRecord(session_id=session_id, user_id=world.user.id, dataset_id=world.dataset.id))
        await session.commit()


def left(report: PendingReport) -> dict[str, Reason]:
    return {one.session_id: one.reason for one in report.left}


async def test_the_sessions_of_every_user_go_where_they_belong(llm):
    recorded, held, default = await World.own("recorded"), await World.own("held"), await World.own()
    sessions = [new_session() for _ in range(3)]
    for world, session in zip((recorded, held, default), sessions, strict=True):
        await world.say(session)
    await record(recorded, sessions[0])
    await persist(held, sessions[1])
    await held.say(sessions[1])
    llm.calls.clear()
    report = await pending(recorded, held, default)
    assert {run.dataset_id: outcomes(run) for run in report.runs} == {
        world.dataset.id: {session: "persisted"}
        for world, session in zip((recorded, held, default), sessions, strict=True)
    }
    assert report.summary().startswith("3 sessions of 3 users in 3 datasets: 3 persisted; 3 turns, ")
    for world in (recorded, held, default):
        assert await world.all_stored_once()
    llm.calls.clear()
    report = await pending(recorded, held, default)
    assert (report.runs, report.left, report.summary(), llm.calls) == ((), (), "nothing pending", [])


async def test_a_session_is_found_without_a_row_of_its_own_and_after_an_edit():
    world = await World.own()
    session = new_session()
    # As an application does that writes to the cache by itself.
    await get_cache_engine().create_qa_entry(str(world.user.id), session, "What is it?", "", "That.", qa_id="first")
    assert (await pending(world)).turns_persisted == 1
    await world.edit(session, "first")
    assert (await pending(world)).turns_persisted == 1
    assert await world.all_stored_once()
    assert (await pending(world)).summary() == "nothing pending"


async def test_what_was_frozen_is_found_after_the_cache_expired(llm):
    world = await World.own()
    session = new_session()
    await world.say(session)
    llm.fail("Marker", double.broken)
    assert outcomes(await persist(world, session)) == {session: "failed"}
    llm.heal()
    await world.expire(session)
    report = await pending(world)
    assert [outcomes(run) for run in report.runs] == [{session: "persisted"}]
    assert await world.all_stored_once()
    # Taken out on purpose: not pending.
    for document in await world.documents():
        import cognee

        await cognee.forget(data_id=document.id, dataset=world.dataset.name, user=world.user)
    assert (await pending(world)).summary() == "nothing pending"


async def test_the_soonest_to_expire_comes_first_and_the_rest_is_left_with_its_reason():
    world = await World.own()
    late, soon, sooner = (new_session() for _ in range(3))
    for session, hours in ((late, 100), (soon, 20), (sooner, 10)):
        await world.say(session)
        await expire_in(world, session, hours + 0.1)
    report = await pending(world, max_sessions=1)
    assert [outcomes(run) for run in report.runs] == [{sooner: "persisted"}]
    assert left(report) == {soon: Reason.OVER_SESSIONS, late: Reason.OVER_SESSIONS}
    assert report.next_expiry_at is not None
    assert abs(report.next_expiry_at - report.at - timedelta(hours=20.1)) < timedelta(minutes=2)
    assert "2 left (2 over max_sessions); oldest unpersisted turn" in report.summary()
    assert ", first to expire in 20 hours" in report.summary()

    report = await pending(world, expiring_within_hours=24)
    assert ([outcomes(run) for run in report.runs], left(report)) == (
        [{soon: "persisted"}],
        {late: Reason.NOT_EXPIRING},
    )
    report = await pending(world, idle_minutes=5)
    assert (report.runs, left(report)) == ((), {late: Reason.ACTIVE})
    assert (await pending(world, idle_minutes=0)).turns_persisted == 1
    assert await world.all_stored_once()


async def test_a_cap_on_windows_takes_what_fits_and_always_the_first():
    world = await World.own()
    large, small = new_session(), new_session()
    for _ in range(21):
        await world.say(large)
    await expire_in(world, large, 1)
    await world.say(small)
    report = await pending(world, max_windows=1)
    assert [outcomes(run) for run in report.runs] == [{large: "persisted"}]
    assert left(report) == {small: Reason.OVER_WINDOWS}
    assert (await pending(world, max_windows=1)).turns_persisted == 1
    assert await world.all_stored_once()


async def test_only_the_datasets_that_are_asked_for():
    world = await World.own("one")
    other = await World.new(world.user, "another")
    sessions = new_session(), new_session()
    for each, session in zip((world, other), sessions, strict=True):
        await each.say(session)
        await record(each, session)
    report = await pending(world, datasets=[str(other.dataset.id)])
    assert ([outcomes(run) for run in report.runs], report.left) == ([{sessions[1]: "persisted"}], ())


async def test_what_stops_one_dataset_stops_the_others_and_nothing_is_lost(llm):
    worlds = [await World.own() for _ in range(2)]
    sessions = [new_session() for _ in worlds]
    for world, session in zip(worlds, sessions, strict=True):
        await world.say(session)
    llm.fail("Marker", double.key_refused)
    report = await pending(*worlds, datasets_at_a_time=1)
    assert len(report.runs) == 1
    assert list(left(report).values()) == [Reason.STOPPED]
    assert "refused the key" in str(report.left[0].error)
    assert report.failures == 2
    llm.heal()
    assert (await pending(*worlds)).turns_persisted == 2
    for world in worlds:
        assert await world.all_stored_once()


async def test_a_user_without_the_dataset_or_without_an_account_is_left_and_the_others_are_not():
    fine, nowhere, gone = await World.own(), World(await new_user(), None), await World.own()  # type: ignore[arg-type]
    sessions = [new_session() for _ in range(3)]
    for world, session in zip((fine, nowhere, gone), sessions, strict=True):
        await world.say(session)
    async with get_relational_engine().get_async_session() as session:
        await session.execute(delete(User).where(User.id == gone.user.id))
        await session.commit()
    report = await pending(fine, nowhere)
    assert [outcomes(run) for run in report.runs] == [{sessions[0]: "persisted"}]
    (one,) = report.left
    assert (one.session_id, one.reason, one.error_code) == (sessions[1], Reason.ERROR, "dataset_not_found")
    assert report.failures == 1
    everybody = await pending(max_sessions=1, expiring_within_hours=0.001)
    assert left(everybody)[sessions[2]] is Reason.NO_USER


async def test_a_filter_that_names_nothing_says_so():
    from flows.persist_pending_sessions import persist_pending_sessions
    from session_memory.errors import DatasetNotFound, UserNotFound

    with pytest.raises(UserNotFound, match=r"no cognee user nobody@example\.com"):
        await persist_pending_sessions(users=["nobody@example.com"])
    with pytest.raises(DatasetNotFound, match="no dataset no-such"):
        await persist_pending_sessions(datasets=["no-such"])
