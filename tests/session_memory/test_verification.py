"""`session-memory verify` against datasets that were damaged behind its back, and its repair."""

import contextlib
import os
from urllib.parse import urlparse

import cognee
import pytest
from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.vector import get_vector_engine
from cognee.infrastructure.session.get_session_manager import get_session_manager
from cognee.infrastructure.session.session_persist_watermark import SESSION_PERSIST_WATERMARK

from session_memory import ledger, repair
from session_memory.settings import get_settings
from session_memory.verification import chunks_of, verify
from session_memory.verify_report import Problem, VerifyReport
from tests.running import persist, target_of
from tests.world import World, all_rows, new_session

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


async def verified(world: World, *sessions: str) -> VerifyReport:
    return await verify(await target_of(world), list(sessions) or None, get_settings())


async def repaired(world: World, report: VerifyReport) -> int:
    """How many documents could be written again; they are."""
    windows = await repair.reopen(
        await target_of(world), {problem.data_id for problem in report.problems}, get_settings()
    )
    if windows:
        await persist(world, *{window.session_id for window in windows})
    return len(windows)


@contextlib.asynccontextmanager
async def stores(world: World):
    """The dataset's graph and vectors, behind everybody's back."""
    async with set_database_global_context_variables(world.dataset.id, world.dataset.owner_id):
        yield await get_graph_engine(), get_vector_engine()
    await world.close_graph()


async def two_sessions() -> tuple[World, str, str]:
    world = await World.own()
    sessions = new_session(), new_session()
    for session in sessions:
        await world.say(session)
        await world.say(session)
    await persist(world, *sessions)
    return world, *sessions


def problems(report: VerifyReport) -> set[tuple[str, Problem]]:
    return {(one.session_id, one.problem) for one in report.problems}


async def test_what_is_there_is_proved_and_nothing_is_written(llm):
    world, session, _ = await two_sessions()
    # Read as text, as cognee does to cut it into chunks, its document is shorter than it is.
    await world.say(session, question="What\r\nis\r\nWidth?")
    await persist(world, session)
    await world.say(session)
    llm.calls.clear()
    before = await all_rows()
    report = await verified(world)
    assert (report.turns, report.turns_sound, report.sessions, report.documents, report.chunks) == (5, 5, 2, 3, 3)
    assert report.summary().startswith("all 5 turns of 2 sessions proved")
    assert await all_rows() == before
    assert llm.calls == []
    assert (await verified(world, session)).turns == 3


async def remove_chunk_node(world: World, session: str) -> None:
    data_id = await document_of(world, session)
    async with stores(world) as (graph, _):
        (chunk,) = (await chunks_of([data_id]))[data_id]
        await graph.delete_node(chunk.id)


async def remove_chunk_vector(world: World, session: str) -> None:
    data_id = await document_of(world, session)
    async with stores(world) as (_, vectors):
        (chunk,) = (await chunks_of([data_id]))[data_id]
        await vectors.delete_data_points("DocumentChunk_text", [chunk.id])


async def remove_file(world: World, session: str) -> None:
    os.remove(await file_of(world, session))


async def change_file(world: World, session: str) -> None:
    path = await file_of(world, session)
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text.replace("is a thing", "is no thing"))


async def document_of(world: World, session: str):
    held = await ledger.session_in(await target_of(world), session)
    (data_id,) = held.windows
    return data_id


async def file_of(world: World, session: str) -> str:
    data_id = await document_of(world, session)
    (row,) = [row for row in await world.documents() if row.id == data_id]
    return urlparse(row.raw_data_location).path


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (remove_chunk_node, Problem.NOT_IN_GRAPH),
        (remove_chunk_vector, Problem.NOT_FOUND),
        (remove_file, Problem.NO_DOCUMENT),
        (change_file, Problem.DIFFERENT),
    ],
)
async def test_damage_is_named_and_repaired_without_the_cache(damage, found):
    world, harmed, _ = await two_sessions()
    # The ledger has forgotten the text as it does after a week.
    await ledger.purge_texts(await target_of(world), older_than_days=0)
    await world.expire(harmed)
    await damage(world, harmed)
    report = await verified(world)
    assert problems(report) == {(harmed, found)}
    assert await repaired(world, report) == 1
    after = await verified(world)
    assert (after.problems, after.turns) == ((), 4)
    assert await world.all_stored_once()


async def test_what_stands_nowhere_any_more_is_said_to_be_lost_and_left():
    world, harmed, _ = await two_sessions()
    await ledger.purge_texts(await target_of(world), older_than_days=0)
    await world.expire(harmed)
    await remove_chunk_node(world, harmed)
    await change_file(world, harmed)
    report = await verified(world)
    before = await all_rows()
    assert await repaired(world, report) == 0
    assert {table: rows for table, rows in (await all_rows()).items() if table == "data"} == {"data": before["data"]}


async def test_a_copy_that_cognees_own_path_stored_is_named_and_repaired_to_one():
    world, session, _ = await two_sessions()
    await SESSION_PERSIST_WATERMARK.write_count(get_session_manager(), str(world.user.id), session, 0)
    await cognee.improve(dataset=world.dataset.name, session_ids=[session], user=world.user)
    report = await verified(world)
    assert problems(report) == {(session, Problem.TWICE)}
    assert await repaired(world, report) == 1
    after = await verified(world)
    assert (after.problems, after.turns, after.turns_foreign) == ((), 2, 2)
    assert await world.all_stored_once()
