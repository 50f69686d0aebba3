"""A ledger that is missing, in parts too, unreadable, older or newer: made good from the documents, or told."""

import json
import signal

import cognee
import pytest
from sqlalchemy import text

from session_memory import adoption, fault_points, ledger, ledger_setup
from session_memory.access import authorise
from session_memory.ledger_schema import VERSION, Base
from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests.faults import processes
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")

MAIN = "from deployments.cli import main; main()"
LONG = pytest.mark.long
TABLES = ["session_memory_turn", "session_memory_window", "session_memory_schema"]


async def sql(*statements: str, **values: object) -> None:
    from cognee.infrastructure.databases.relational import get_relational_engine

    async with get_relational_engine().engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement), values)


async def corrupt(column: str, session: str) -> None:
    """Write what nobody can read. Postgres refuses what is no JSON at all, SQLite takes it."""
    from cognee.infrastructure.databases.relational import get_relational_engine

    value = "[[{" if get_relational_engine().engine.dialect.name == "sqlite" else "7"
    await sql(f"UPDATE session_memory_window SET {column} = '{value}' WHERE session_id = :session", session=session)


@pytest.fixture
async def whole_again(llm):
    """A ledger with all its tables, whatever a test did to it."""
    yield
    await ledger_setup.prepare()


@pytest.mark.fault("ledger lost")
@pytest.mark.parametrize("point", [*(pytest.param(table, marks=LONG) for table in TABLES), "all of it"])
@pytest.mark.usefixtures("whole_again")
async def test_a_lost_ledger_is_rebuilt_from_the_documents(world, count, tmp_path, point):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    edited = await world.say(sessions[0])
    await persist(world, *sessions)
    await world.edit(sessions[0], edited)
    await persist(world, *sessions)
    await world.say(sessions[1])
    await sql(*[f"DROP TABLE {table}" for table in (TABLES if point == "all of it" else [point])])
    log = tmp_path / "calls"
    run = await processes.command(
        *["persist", *sessions, "--dataset", str(world.dataset.id), "--json"], **{processes.LOG: str(log)}
    )
    assert run.returncode == 0, run.output[-2000:]
    report = json.loads(run.out)
    assert report["turns_persisted"] == 1
    if point in {"session_memory_window", "all of it"}:
        assert "had lost 2 of this dataset's documents" in report["note"]
    # The new turn's document; nothing that is in the graph is written again.
    assert processes.calls_in(log) == 2
    await count(world)
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.NOTHING_NEW}


@pytest.mark.fault("ledger lost while an edit was under way")
@LONG
@pytest.mark.usefixtures("whole_again")
async def test_an_edit_that_was_under_way_when_the_ledger_was_lost_is_finished(world, count):
    session = new_session()
    await world.say(session)
    edited = await world.say(session)
    old = world.said[edited]
    await persist(world, session)
    await world.edit(session, edited)
    killed = await processes.run(world, session, **{fault_points.VARIABLE: "before-remove=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    assert len(await world.documents()) == 2
    await sql(*[f"DROP TABLE {table}" for table in TABLES])
    await ledger_setup.prepare()
    await persist(world, session)
    await count(world)
    assert await world.times(old) == (0, 0)


@pytest.mark.fault("ledger lost, a document half written, the session expired")
@pytest.mark.usefixtures("whole_again")
async def test_a_document_that_was_half_written_when_the_ledger_was_lost_is_finished(world, llm, count):
    session = new_session()
    await world.say(session)
    killed = await processes.run(world, session, **{fault_points.VARIABLE: "added=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    await sql(*[f"DROP TABLE {table}" for table in TABLES])
    await ledger_setup.prepare()
    await world.expire(session)
    # Its text is known again, so that it can be taken out of the dataset and come back.
    llm.refuse("Marker")
    assert outcomes(await persist(world, session)) == {session: Outcome.QUARANTINED}
    assert await cognee.datasets.list_data(world.dataset.id, user=world.user) == []
    llm.heal()
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("ledger row corrupt")
@pytest.mark.parametrize("point", ["turns", *(pytest.param(column, marks=LONG) for column in ("node_set", "state"))])
async def test_a_row_that_cannot_be_read_fails_its_session_alone_until_the_ledger_is_rebuilt(world, llm, count, point):
    bad, good = new_session(), new_session()
    await world.say(bad)
    await persist(world, bad)
    await world.say(bad)
    await world.say(good)
    await corrupt(point, bad)
    llm.calls.clear()
    report = await persist(world, bad, good)
    assert outcomes(report) == {bad: Outcome.FAILED, good: Outcome.PERSISTED}
    assert report.sessions[0].error_code == "ledger_unreadable"
    assert "session-memory rebuild" in (report.sessions[0].error or "")
    assert len(llm.calls) == 2
    rebuilt = await processes.command("rebuild", "--dataset", str(world.dataset.id), "--json")
    assert rebuilt.returncode == 0, rebuilt.output[-2000:]
    assert json.loads(rebuilt.out) == {"dropped_windows": 1, "kept_windows": 0, "adopted_documents": 1}
    assert outcomes(await persist(world, bad)) == {bad: Outcome.PERSISTED}
    await count(world)


@LONG
@pytest.mark.fault("ledger row corrupt, of what is not written yet")
async def test_an_unreadable_row_that_is_in_no_document_is_dropped_only_when_asked(world, llm, count):
    session = new_session()
    await world.say(session)
    killed = await processes.run(world, session, **{fault_points.VARIABLE: "extracted=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    await corrupt("turns", session)
    rebuild = ["rebuild", "--dataset", str(world.dataset.id)]
    kept = await processes.command(*rebuild)
    assert "1 unreadable, in no document: kept, `--drop` drops them." in kept.out
    assert outcomes(await persist(world, session)) == {session: Outcome.FAILED}
    dropped = await processes.command(*rebuild, "--drop", "--json")
    assert json.loads(dropped.out)["dropped_windows"] == 1
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    await count(world)


async def test_a_rebuild_keeps_what_is_known_of_turns_that_cognees_own_path_stored(world):
    """Their evidence is looked up only while cognee's watermark is there; the ledger's word stays."""
    session = new_session()
    qa_id = await world.say(session)
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    await persist(world, session)
    target = await authorise(None, str(world.dataset.id), get_settings())
    await adoption.rebuild(target, drop=True)
    turn = (await ledger.session_in(target, session)).turns[qa_id]
    assert turn.data_id is None


@pytest.mark.fault("ledger of an older schema")
@LONG
@pytest.mark.parametrize("point", ["version 1", "killed in mid-migration"])
@pytest.mark.usefixtures("whole_again")
async def test_an_older_ledger_is_migrated_with_what_it_holds(world, count, point):
    done, waiting = new_session(), new_session()
    await world.say(done)
    await persist(world, done)
    await world.say(waiting)
    killed = await processes.run(world, waiting, **{fault_points.VARIABLE: "extracted=kill"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    await world.expire(waiting)
    if point == "version 1":
        await sql("ALTER TABLE session_memory_window DROP COLUMN adopted_at")
    await sql("UPDATE session_memory_schema SET version = 1")
    run = await processes.run(world, done, waiting)
    assert run.returncode == 0, run.output[-2000:]
    await count(world)
    assert await version() == VERSION


@pytest.mark.fault("ledger of a newer schema")
async def test_a_newer_ledger_is_refused_and_nothing_is_written(world, count):
    session = new_session()
    await world.say(session)
    await sql(f"UPDATE session_memory_schema SET version = {VERSION + 1}")
    run = await processes.command("persist", session, "--dataset", str(world.dataset.id))
    await sql(f"UPDATE session_memory_schema SET version = {VERSION}")
    assert run.returncode == 1, run.output
    assert f"schema version {VERSION + 1} and this program knows version {VERSION}" in run.err
    assert "Traceback" not in run.output
    assert await world.documents() == []
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    await count(world)


async def version() -> object:
    from cognee.infrastructure.databases.relational import get_relational_engine

    async with get_relational_engine().engine.connect() as connection:
        return await connection.scalar(text("SELECT version FROM session_memory_schema"))


async def test_the_tables_a_test_drops_are_all_of_the_ledgers():
    assert set(TABLES) == set(Base.metadata.tables)


@pytest.mark.long
async def test_a_database_file_that_is_no_database_is_an_error_that_says_what_to_check(tmp_path):
    database = tmp_path / "system" / "databases" / "cognee_db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"not a database" * 1000)
    state = {
        "SESSION_MEMORY_STATE_DIR": str(tmp_path),
        **{f"{name}_ROOT_DIRECTORY": str(tmp_path / name.lower()) for name in ("SYSTEM", "DATA", "CACHE")},
        "COGNEE_LOGS_DIR": str(tmp_path / "logs"),
    }
    ended = await processes.program("-c", MAIN, "persist", "chat-1", **state)
    assert ended.returncode == 1, ended.output[-2000:]
    assert "cognee's relational database" in ended.err
    assert "Traceback" not in ended.output
