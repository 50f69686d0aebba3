"""Nobody persists, reads or is told what belongs to another; a service account writes where its permission reaches."""

import cognee
import pytest
from cognee.modules.users.methods import get_user
from cognee.modules.users.models import User
from cognee.modules.users.permissions.methods import give_permission_on_dataset
from cognee.modules.users.tenants.methods import add_user_to_tenant, create_tenant

from session_memory import errors
from session_memory.access import authorise
from session_memory.forgetting import forget
from session_memory.models import Outcome
from session_memory.quarantine import release
from session_memory.settings import get_settings
from session_memory.verification import verify
from tests.running import outcomes, persist
from tests.world import World, new_session, new_user

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


async def pending(*worlds: World):
    from flows.persist_pending_sessions import persist_pending_sessions

    return await persist_pending_sessions(users=[world.user.email for world in worlds])


@pytest.fixture
def service_accounts(monkeypatch):
    """Sets the service accounts."""

    def name(*accounts: User) -> None:
        settings = get_settings().model_copy(update={"service_accounts": tuple(one.email for one in accounts)})
        for module in ("flows.persist_sessions", "tasks.find_pending_sessions", "session_memory.quarantine"):
            monkeypatch.setattr(f"{module}.get_settings", lambda: settings)

    return name


async def in_tenant(name: str, owner: User, *members: User) -> None:
    """Make a tenant that all of them have selected."""
    tenant = await create_tenant(name, owner.id)
    for member in members:
        await add_user_to_tenant(member.id, tenant, owner.id, set_as_active_tenant=True)


# --- users beside each other ------------------------------------------------------------------------------


async def test_a_session_of_the_same_name_is_each_ones_own():
    ada, ben = [await World.new(await new_user(), "notes") for _ in range(2)]
    session = new_session()
    await ada.say(session)
    for _ in range(2):
        await ben.say(session)
    reports = [await persist(world, session, dataset="notes") for world in (ada, ben)]
    assert [report.turns_persisted for report in reports] == [1, 2]
    assert len(await ada.chunk_texts()) == len(await ben.chunk_texts()) == 1
    assert await ada.all_stored_once()
    assert await ben.all_stored_once()


async def test_nobody_forgets_or_verifies_what_another_said_in_a_dataset_they_share():
    ada, ben = [await World.new(await new_user()) for _ in range(2)]
    session = new_session()
    await give_permission_on_dataset(ben.user, ada.dataset.id, "write")
    for world in (ada, ben):
        await world.say(session)
        await persist(world, session, dataset=str(ada.dataset.id))
    targets = [await authorise(world.user.email, str(ada.dataset.id), get_settings()) for world in (ada, ben)]
    assert [(await verify(target, None, get_settings())).turns for target in targets] == [1, 1]
    with pytest.raises(errors.NoDeletePermission):
        await forget(targets[1], session, turn=None, cache=True, settings=get_settings())
    assert len(await ada.chunk_texts()) == 2
    await give_permission_on_dataset(ben.user, ada.dataset.id, "delete")
    await forget(targets[1], session, turn=None, cache=True, settings=get_settings())
    assert await ada.all_stored_once()
    assert len(await ada.chunk_texts()) == 1
    assert len(await ada.cached(session)) == 1


async def test_no_name_of_a_session_reaches_anothers(llm):
    ada, ben = [await World.new(await new_user()) for _ in range(2)]
    session = new_session()
    await ben.say(session)
    tried = [
        session,
        f"{ben.user.id}:{session}",
        f"../{ben.user.id}/{session}",
        f"agent_sessions:{ben.user.id}:{session}",
        "*",
        "%",
    ]
    report = await persist(ada, *tried)
    assert set(outcomes(report).values()) == {Outcome.NOT_FOUND}
    assert (await ada.documents(), llm.calls) == ([], [])
    assert "Marker" not in report.model_dump_json()


async def test_in_a_dataset_they_share_each_is_told_of_their_own_alone(llm):
    ada = await World.new(await new_user())
    ben = World(user=await new_user(), dataset=ada.dataset)
    await give_permission_on_dataset(ben.user, ada.dataset.id, "write")
    session, secret = new_session(), new_session()
    await ada.say(session)
    await ben.say(session)
    await ben.say(secret, question="What is Poison?")
    llm.refuse("Poison")
    await persist(ben, session, secret)
    llm.heal()
    report = await persist(ada, session)
    assert outcomes(report) == {session: Outcome.PERSISTED}
    assert (report.turns_persisted, report.sessions[0].turns_quarantined) == (1, 0)
    assert await ada.all_stored_once()
    for private in (secret, ben.user.email, str(ben.user.id)):
        assert private not in report.model_dump_json()
        assert private not in report.to_markdown()
    # The other's quarantined turn is not theirs to release either.
    with pytest.raises(errors.WindowNotFound):
        await release(ada.user.email, secret, str(ada.dataset.id))


async def test_what_is_pending_of_one_user_says_nothing_of_another():
    ada, ben = [await World.own() for _ in range(2)]
    mine, theirs = new_session(), new_session()
    await ada.say(mine)
    await ben.say(theirs)
    report = await pending(ada)
    assert [outcomes(run) for run in report.runs] == [{mine: Outcome.PERSISTED}]
    for private in (theirs, ben.user.email, str(ben.user.id), str(ben.dataset.id)):
        assert private not in report.model_dump_json()
    assert await ben.documents() == []


async def test_a_dataset_of_anothers_is_not_named_and_not_found_by_its_name():
    ada, ben = await World.new(await new_user(), "plans-2026"), await World.new(await new_user(), "diary")
    session = new_session()
    await ben.say(session)
    with pytest.raises(errors.DatasetNotFound) as found:
        await persist(ben, session, dataset="plans-2025")
    assert "plans-2026" not in str(found.value)
    assert await ada.documents() == []


async def test_reading_a_dataset_is_not_writing_it():
    ada, reader = await World.new(await new_user()), await World.new(await new_user())
    await give_permission_on_dataset(reader.user, ada.dataset.id, "read")
    session = new_session()
    await reader.say(session)
    with pytest.raises(errors.NoWritePermission):
        await persist(reader, session, dataset=str(ada.dataset.id))


async def test_a_search_finds_what_somebody_said_for_them_alone():
    ada, ben = [await World.new(await new_user(), "notes") for _ in range(2)]
    session = new_session()
    await ada.say(session, question="What is Zanzibar?", answer="Zanzibar is an island.")
    await ben.say(session)
    for world in (ada, ben):
        await persist(world, session)
        await world.close_graph()

    async def found(world: World) -> str:
        results = await cognee.search(
            "Zanzibar", query_type=cognee.SearchType.CHUNKS, user=world.user, datasets=["notes"]
        )
        return str(results)

    assert "island" in await found(ada)
    assert "Zanzibar" not in await found(ben)


# --- a service account ------------------------------------------------------------------------------------


async def test_a_service_account_writes_what_its_permission_is_for(service_accounts):
    service = await new_user()
    shared = await World.new(await new_user())
    await give_permission_on_dataset(service, shared.dataset.id, "write")
    ada, ben = [World(user=await new_user(), dataset=shared.dataset) for _ in range(2)]
    session = new_session()
    for world in (ada, ben):
        await world.say(session)
        with pytest.raises(errors.NoWritePermission):
            await persist(world, session)
    service_accounts(service)
    for world in (ada, ben):
        report = await persist(world, session)
        assert (outcomes(report), report.user) == ({session: Outcome.PERSISTED}, world.user.email)
        assert await world.all_stored_once()
        assert outcomes(await persist(world, session)) == {session: Outcome.NOTHING_NEW}
    assert {document.owner_id for document in await shared.documents()} == {service.id}


async def test_a_service_account_writes_nowhere_else(service_accounts, llm):
    ada, ben = [await World.new(await new_user()) for _ in range(2)]
    service = await new_user()
    service_accounts(service)
    session = new_session()
    await ada.say(session)
    with pytest.raises(errors.NoWritePermission, match=service.email):
        await persist(ada, session, dataset=str(ben.dataset.id))
    assert (await ben.documents(), llm.calls) == ([], [])
    # Where the owner may write by themselves, no service account is asked for.
    assert outcomes(await persist(ada, session)) == {session: Outcome.PERSISTED}
    assert {document.owner_id for document in await ada.documents()} == {ada.user.id}


async def test_a_service_account_that_does_not_exist_is_named(service_accounts, world):
    nobody = await new_user()
    nobody.email = "nobody@example.com"
    service_accounts(nobody)
    session = new_session()
    await world.say(session)
    with pytest.raises(errors.UserNotFound, match=nobody.email):
        await persist(world, session)


# --- tenants ----------------------------------------------------------------------------------------------


async def test_a_tenant_keeps_what_was_said_in_it(service_accounts):
    owner, ada, service, outsider = [await new_user() for _ in range(4)]
    await in_tenant(f"tenant of {owner.email}", owner, ada, service)
    owner, ada, service = [await get_user(one.id) for one in (owner, ada, service)]
    team = await World.new(owner, "team")
    assert team.dataset.tenant_id == owner.tenant_id
    await give_permission_on_dataset(service, team.dataset.id, "write")
    service_accounts(service)
    session = new_session()
    inside, outside = World(user=ada, dataset=team.dataset), World(user=outsider, dataset=team.dataset)
    for world in (inside, outside):
        await world.say(session)
    assert outcomes(await persist(inside, session)) == {session: Outcome.PERSISTED}
    with pytest.raises(errors.OtherTenant):
        await persist(outside, session)
    assert await inside.all_stored_once()
    assert len(await team.documents()) == 1


async def test_a_permission_ends_at_the_tenant_that_is_selected():
    owner, guest = [await new_user() for _ in range(2)]
    personal = await World.new(owner, "personal")
    await give_permission_on_dataset(guest, personal.dataset.id, "write")
    await in_tenant(f"tenant of {owner.email}", owner, guest)
    session = new_session()
    for user in (owner, guest):
        world = World(user=await get_user(user.id), dataset=personal.dataset)
        await world.say(session)
        with pytest.raises(errors.NoWritePermission):
            await persist(world, session)
    # Their datasets of the same name in the tenant are others.
    inside = await World.new(await get_user(owner.id), "personal")
    inside_session = new_session()
    await inside.say(inside_session)
    assert outcomes(await persist(inside, inside_session, dataset="personal")) == {inside_session: Outcome.PERSISTED}
    assert inside.dataset.id != personal.dataset.id
    assert await personal.documents() == []


async def test_each_tenants_sessions_are_written_by_its_own_service_account(service_accounts):
    worlds, accounts = [], []
    for _ in range(2):
        owner, member, service = [await new_user() for _ in range(3)]
        await in_tenant(f"tenant of {owner.email}", owner, member, service)
        team = await World.new(await get_user(owner.id), "main_dataset")
        await give_permission_on_dataset(service, team.dataset.id, "write")
        worlds.append(World(user=await get_user(member.id), dataset=team.dataset))
        accounts.append(service)
    service_accounts(*accounts)
    session = new_session()
    for world in worlds:
        await world.say(session)
        assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
        assert await world.all_stored_once()
