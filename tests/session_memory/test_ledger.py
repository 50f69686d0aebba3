"""The ledger on a real database, beside cognee's tables."""

from uuid import uuid4

import pytest
from sqlalchemy import insert, text, update

from session_memory import errors, ledger, ledger_setup, planning, session_cache
from session_memory.access import authorise
from session_memory.ledger_schema import VERSION, SchemaRow, WindowRow
from session_memory.settings import get_settings
from tests.world import new_session


async def planned(world, session):
    target = await authorise(None, str(world.dataset.id), get_settings())
    cached = await session_cache.read(target.user_id, session)
    held = await ledger.session_in(target, session)
    changes = planning.plan(target, cached, held, foreign=set(), texts={}, redact=None, settings=get_settings())
    return target, changes


async def test_two_plans_of_the_same_turns_cannot_both_be_frozen(world):
    session = new_session()
    await world.say(session)
    target, first = await planned(world, session)
    _, second = await planned(world, session)
    await ledger.freeze(target, {session: first})
    with pytest.raises(ledger.Conflict):
        await ledger.freeze(target, {session: second})
    held = await ledger.session_in(target, session)
    assert list(held.windows) == [first.windows[0].data_id]


async def test_a_plan_that_overlaps_a_frozen_one_in_one_turn_is_refused_whole(world):
    session = new_session()
    await world.say(session)
    target, first = await planned(world, session)
    await world.say(session)
    _, wider = await planned(world, session)
    await ledger.freeze(target, {session: first})
    with pytest.raises(ledger.Conflict):
        await ledger.freeze(target, {session: wider})
    assert len((await ledger.session_in(target, session)).turns) == 1


async def test_a_window_cannot_be_superseded_twice(world):
    session = new_session()
    qa_id = await world.say(session)
    target, first = await planned(world, session)
    await ledger.freeze(target, {session: first})
    await world.edit(session, qa_id)
    _, once = await planned(world, session)
    await world.edit(session, qa_id)
    _, twice = await planned(world, session)
    await ledger.freeze(target, {session: once})
    with pytest.raises(ledger.Conflict):
        await ledger.freeze(target, {session: twice})


async def test_text_is_purged_only_of_windows_that_are_in_the_dataset(world):
    session = new_session()
    await world.say(session)
    target, changes = await planned(world, session)
    await ledger.freeze(target, {session: changes})
    assert await ledger.purge_texts(target, older_than_days=0) == 0
    (window,) = (await ledger.session_in(target, session)).windows.values()
    assert window.text


async def test_a_ledger_of_another_version_is_refused_with_both_numbers(llm):
    from cognee.infrastructure.databases.relational import get_relational_engine

    engine = get_relational_engine().engine
    async with engine.begin() as connection:
        await connection.execute(update(SchemaRow).values(version=VERSION + 1))
    try:
        with pytest.raises(errors.LedgerSchemaUnknown, match=f"version {VERSION + 1} .* version {VERSION}"):
            await ledger_setup.prepare()
    finally:
        async with engine.begin() as connection:
            await connection.execute(update(SchemaRow).values(version=VERSION))
    await ledger_setup.prepare()


async def test_looking_a_session_up_uses_an_index(llm):
    from cognee.infrastructure.databases.relational import get_relational_engine

    async with get_relational_engine().engine.connect() as connection:
        for query in [
            "SELECT * FROM session_memory_window w LEFT JOIN data d ON d.id = w.data_id"
            " WHERE w.dataset_id = 'd' AND w.owner_id = 'o' AND w.session_id = 's'",
            "SELECT * FROM session_memory_turn WHERE dataset_id = 'd' AND owner_id = 'o' AND session_id = 's'",
            "SELECT * FROM session_memory_window WHERE replaces = 'x'",
        ]:
            steps = [str(row) for row in await connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
            assert steps
            assert not [step for step in steps if "SCAN" in step], steps


async def test_a_deleted_dataset_is_an_error_that_says_so(world):
    import cognee

    session = new_session()
    await world.say(session)
    target, changes = await planned(world, session)
    await cognee.datasets.empty_dataset(world.dataset.id, user=world.user)
    with pytest.raises(errors.DatasetGone):
        await ledger.freeze(target, {session: changes})


async def test_an_error_of_the_database_quotes_no_text(world):
    from cognee.infrastructure.databases.relational import get_relational_engine
    from sqlalchemy.exc import IntegrityError

    async with get_relational_engine().engine.connect() as connection:
        with pytest.raises(IntegrityError) as caught:
            await connection.execute(insert(WindowRow).values(data_id=uuid4(), text="what was said"))
    assert "what was said" not in str(caught.value)


async def test_a_database_that_is_locked_is_a_store_to_wait_for(world, monkeypatch):
    from sqlalchemy.exc import OperationalError

    from session_memory.extraction import extract

    async def locked(*args):
        raise OperationalError("SELECT", {"text": "what was said"}, OSError("database is locked"))

    monkeypatch.setattr(ledger, "sessions_in", locked)
    target = await authorise(None, str(world.dataset.id), get_settings())
    with pytest.raises(errors.StoreUnavailable) as caught:
        await extract(target, [new_session()], get_settings())
    assert caught.value.transient
    assert "what was said" not in str(caught.value)
