"""A database that is locked for a while, a disk that is full."""

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from session_memory import errors
from session_memory.models import Outcome
from tests.faults import processes
from tests.running import outcomes, persist, target_of, until
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


def database() -> str:
    from cognee.infrastructure.databases.relational import get_relational_engine

    return str(get_relational_engine().engine.url.database)


async def said(world) -> list[str]:
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    return sessions


@pytest.mark.long
@pytest.mark.fault("SQLite locked for 20 s")
async def test_a_database_locked_for_twenty_seconds_in_mid_run_is_waited_for(world, llm, count, tmp_path):
    sessions = await said(world)
    llm.gate = asyncio.Event()
    run = asyncio.create_task(persist(world, *sessions))
    await until(lambda: llm.calls)
    locked = tmp_path / "locked"
    lock = asyncio.create_task(processes.beside("lock_database", database(), "20", str(locked)))
    await until(locked.exists)
    started = time.monotonic()
    llm.gate.set()
    assert set(outcomes(await run).values()) == {Outcome.PERSISTED}
    assert time.monotonic() - started > 15
    assert (await lock).returncode == 0
    await count(world)


@pytest.mark.long
@pytest.mark.fault("SQLite locked for longer than a run waits")
async def test_a_database_that_stays_locked_is_a_clean_failure_and_the_next_run_recovers(
    world, llm, count, tmp_path, monkeypatch
):
    from cognee.infrastructure.databases.relational import get_relational_engine
    from sqlalchemy import event

    def impatient(connection, _record) -> None:
        connection.execute("PRAGMA busy_timeout = 200")

    sessions = await said(world)
    llm.gate = asyncio.Event()
    run = asyncio.create_task(persist(world, *sessions))
    await until(lambda: llm.calls)
    locked = tmp_path / "locked"
    engine = get_relational_engine().engine.sync_engine
    event.listen(engine, "connect", impatient)
    try:
        lock = asyncio.create_task(processes.beside("lock_database", database(), "12", str(locked)))
        await until(locked.exists)
        llm.gate.set()
        with pytest.raises(errors.StoreUnavailable) as failed:
            await run
        assert "Marker" not in str(failed.value)
        assert (await lock).returncode == 0
    finally:
        event.remove(engine, "connect", impatient)
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)


@pytest.fixture
def small_disk():
    """The place of cognee's documents as a disk of its own, of 256 KiB; gives the folder."""
    from cognee.base_config import get_base_config

    folder = Path(get_base_config().data_root_directory)
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root; CI has it")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.fault("disk full while adding")
async def test_a_full_disk_stops_the_run_which_says_so_and_the_next_one_recovers(world, llm, count, small_disk):
    sessions = await said(world)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(1024 * 1024))
    report = await persist(world, *sessions)
    assert {session.error_code for session in report.sessions} == {"disk_full"}
    assert llm.calls == []
    assert await world.documents() == []
    assert await world.nodes() == []
    filler.unlink()
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)


async def vectors_of(world) -> Path:
    """The folder of a dataset's vectors."""
    from cognee.context_global_variables import set_database_global_context_variables
    from cognee.infrastructure.databases.vector.config import get_vectordb_context_config

    async with set_database_global_context_variables(world.dataset.id, world.dataset.owner_id):
        return Path(get_vectordb_context_config()["vector_db_url"])


@pytest.mark.fault("killed while a table of vectors was made")
async def test_a_table_that_a_killed_run_left_half_made_is_made_anew(world, llm, count):
    session = new_session()
    await world.say(session)
    # What LanceDB writes before the manifest: cognee takes the folder for a table, and cannot open it.
    for table in ("Entity_name", "TextSummary_text"):
        written = await vectors_of(world) / f"{table}.lance" / "_transactions" / "0-half.txn"
        written.parent.mkdir(parents=True)
        written.write_text("half")
        for path in (written, *written.parents[:2]):
            os.utime(path, (0, time.time() - 10))
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    await count(world)


async def test_a_table_that_somebody_is_making_is_left_alone(world):
    from session_memory import vector_files

    making = await vectors_of(world) / "Entity_name.lance" / "_transactions"
    making.mkdir(parents=True)
    await vector_files.clear_half_made(await target_of(world))
    assert making.exists()


#: Writes to a graph and checkpoints it, as fast as it can.
CHECKPOINTS = """
import sys, ladybug
connection = ladybug.Connection(ladybug.Database(sys.argv[1]))
print("open", flush=True)
while True:
    connection.execute("MATCH (n:Node) WITH n LIMIT 1 SET n.name = n.name")
    connection.execute("CHECKPOINT")
"""
OPENS = "import sys, ladybug; ladybug.Connection(ladybug.Database(sys.argv[1]))"


async def graph_of(world) -> Path:
    """The file of a dataset's graph."""
    from cognee.context_global_variables import set_database_global_context_variables
    from cognee.infrastructure.databases.graph.config import get_graph_context_config

    await world.close_graph()
    async with set_database_global_context_variables(world.dataset.id, world.dataset.owner_id):
        return Path(get_graph_context_config()["graph_file_path"])


def kill_in_a_checkpoint(graph: Path) -> bool:
    """Kill a process that writes to a graph; whether nobody can open it any more."""
    command = [sys.executable, "-c", CHECKPOINTS, str(graph)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writing:
        assert writing.stdout
        writing.stdout.readline()
        time.sleep(random.uniform(0.02, 0.2))
        writing.kill()
    opened = subprocess.run([sys.executable, "-c", OPENS, str(graph)], stderr=subprocess.PIPE, text=True)
    assert opened.returncode == 0 or ".shadow' does not match" in opened.stderr, opened.stderr
    return opened.returncode != 0


@pytest.mark.fault("killed at the end of a graph's checkpoint")
async def test_a_graph_that_a_kill_left_in_a_checkpoint_is_opened_again(world, llm, count):
    sessions = await said(world)
    await persist(world, sessions[0])
    graph = await graph_of(world)
    # About one kill in three.
    for _ in range(40):
        if await asyncio.to_thread(kill_in_a_checkpoint, graph):
            break
    else:
        pytest.fail("no kill met the end of a checkpoint")
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    await count(world)
