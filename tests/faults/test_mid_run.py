"""What happens to the cache, the permission and the dataset between a run's extraction and its writing."""

import asyncio

import cognee
import pytest

from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests.running import outcomes, persist, until
from tests.world import World, new_session, new_user

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def after_extraction(monkeypatch):
    """Have something happen between extraction and writing: `after_extraction(what)`."""
    from session_memory import extraction

    extract = extraction.extract

    def arm(what) -> None:
        async def then(*args):
            extracted = await extract(*args)
            await what()
            return extracted

        monkeypatch.setattr(extraction, "extract", then)

    return arm


@pytest.mark.fault("the cache changes between extraction and writing")
@pytest.mark.parametrize("cache", ["expires", "deleted turn", "edited turn"])
async def test_what_was_extracted_is_stored_and_an_edit_supersedes_it(
    world, llm, count, after_extraction, monkeypatch, cache
):
    session = new_session()
    changed = await world.say(session)
    old = world.said[changed]
    await world.say(session)

    async def change() -> None:
        if cache == "expires":
            await world.expire(session)
        elif cache == "deleted turn":
            await world.delete(session, changed)
        else:
            await world.edit(session, changed)

    after_extraction(change)
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    monkeypatch.undo()
    if cache == "edited turn":
        assert await world.times(old) == (1, 1)
        assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
        assert await world.times(old) == (0, 0)
    await count(world)


@pytest.mark.fault("dataset deleted in mid-run")
@pytest.mark.parametrize("point", ["before writing", "while writing"])
async def test_a_dataset_deleted_in_mid_run_stops_it_which_says_so(
    world, llm, count, after_extraction, monkeypatch, point
):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)

    async def deleted() -> None:
        await cognee.datasets.empty_dataset(world.dataset.id, user=world.user)

    if point == "before writing":
        after_extraction(deleted)
        report = await persist(world, *sessions)
        assert llm.calls == []
    else:
        settings = get_settings().model_copy(update={"windows_per_group": 1})
        monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
        llm.gate = asyncio.Event()
        run = asyncio.create_task(persist(world, *sessions))
        await until(lambda: llm.calls)
        # It waits for the first group: cognee lets nobody delete what is being written.
        deleting = asyncio.create_task(deleted())
        await asyncio.sleep(0.5)
        llm.gate.set()
        report = await run
        await deleting
        assert len(llm.calls) == 2
    assert set(outcomes(report).values()) == {Outcome.FAILED}
    assert {session.error_code for session in report.sessions} == {"dataset_gone"}
    assert await world.documents() == []
    again = await World.new(world.user, world.dataset.name)
    assert again.dataset.id == world.dataset.id
    again.said = world.said
    monkeypatch.undo()
    assert set(outcomes(await persist(again, *sessions)).values()) == {Outcome.PERSISTED}
    await count(again)


@pytest.mark.fault("permission revoked in mid-run")
@pytest.mark.long
async def test_a_permission_revoked_in_mid_run_stops_it_before_the_next_write(world, llm, count, monkeypatch):
    from cognee.modules.users.permissions.methods import give_permission_on_dataset

    guest = World(user=await new_user(), dataset=world.dataset)
    await give_permission_on_dataset(guest.user, world.dataset.id, "write")
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await guest.say(session)
    settings = get_settings().model_copy(update={"windows_per_group": 1})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    llm.gate = asyncio.Event()
    run = asyncio.create_task(persist(guest, *sessions))
    await until(lambda: llm.calls)
    await revoke(guest)
    llm.gate.set()
    report = await run
    assert list(outcomes(report).values()) == [Outcome.PERSISTED, Outcome.FAILED, Outcome.FAILED]
    assert {session.error_code for session in report.sessions[1:]} == {"no_write_permission"}
    assert len(await world.documents()) == 1
    await give_permission_on_dataset(guest.user, world.dataset.id, "write")
    await persist(guest, *sessions)
    await count(guest)


async def revoke(guest: World) -> None:
    from cognee.infrastructure.databases.relational import get_relational_engine
    from cognee.modules.users.models import ACL
    from sqlalchemy import delete

    async with get_relational_engine().get_async_session() as session:
        await session.execute(delete(ACL).where(ACL.principal_id == guest.user.id, ACL.dataset_id == guest.dataset.id))
        await session.commit()
