"""No query of the ledger or of discovery reads a whole table: they stay as fast as the tables grow."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cognee.infrastructure.databases.cache.get_cache_engine import get_cache_engine
from cognee.infrastructure.databases.relational import get_relational_engine
from sqlalchemy import event

from session_memory import adoption, cache_listing, graph_writer, ledger, ledger_index, session_cache
from session_memory.access import authorise
from session_memory.extraction import extract
from session_memory.models import Target
from session_memory.settings import get_settings
from tests.running import persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")

#: SQLite's planner reads a table whole, and no index of it.
_WHOLE = ("SCAN session_memory_", "SCAN data", "SCAN cache_", "SCAN datasets")


async def plans(engine: Any, work: Callable[[], Awaitable[Any]]) -> dict[str, list[str]]:
    """What SQLite does for each statement that some work executes."""
    executed: dict[str, Any] = {}

    def keep(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
            executed[statement] = parameters[0] if many else parameters

    event.listen(engine.sync_engine, "before_cursor_execute", keep)
    try:
        await work()
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", keep)
    found = {}
    async with engine.connect() as connection:
        for statement, parameters in executed.items():
            rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found[statement] = [row[3] for row in rows]
    return found


def whole_tables(found: dict[str, list[str]]) -> list[str]:
    """The steps that read a table from its beginning to its end."""
    return [step for steps in found.values() for step in steps if step.startswith(_WHOLE) and "INDEX" not in step]


@pytest.fixture
async def target(world: World, llm: Any) -> Target:
    session = new_session()
    await world.say(session)
    await persist(world, session)
    await world.say(session)
    return await authorise(None, str(world.dataset.id), get_settings())


async def _ledger_queries(target: Target) -> None:
    held = await ledger.sessions_in(target, ["one", "another"])
    ids = [window for session in held.values() for window in session.windows]  # type: ignore[union-attr]
    await ledger.windows_by_id(target, [*ids, target.dataset_id])
    await ledger.successors(target, target.dataset_id)
    await ledger.note_complete(target, [target.dataset_id])
    await ledger.note_failure(target.dataset_id, error_code="none", quarantine=True)
    await ledger.release(target, "one")
    await ledger.purge_texts(target, older_than_days=7)
    await adoption.adopt(target)
    await graph_writer.complete_among(target, [target.dataset_id])
    await session_cache.datasets_of(target.user_id, ["one"])


async def _discovery_queries(target: Target) -> None:
    await ledger_index.datasets_of(target.user_id, ["one", "another"])
    async for _ in ledger_index.sessions(quarantine_attempts=3):
        pass
    await ledger_index.quarantined_turns(list(await ledger_index.names()))


@pytest.mark.parametrize("queries", [_ledger_queries, _discovery_queries])
async def test_no_query_of_the_ledger_reads_a_whole_table(target: Target, queries):
    found = await plans(get_relational_engine().engine, lambda: queries(target))
    assert len(found) >= 3, "the work executes what it is measured by"
    assert whole_tables(found) == []


async def test_many_sessions_are_looked_up_in_pages(target: Target):
    executed = 0

    def count(*_: Any) -> None:
        nonlocal executed
        executed += 1

    engine = get_relational_engine().engine.sync_engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        extraction = await extract(target, [f"nobody said {number}" for number in range(1_000)], get_settings())
    finally:
        event.remove(engine, "before_cursor_execute", count)
    assert [plan.known for plan in extraction.sessions] == [False] * 1_000
    # Five pages; one by one it would be thousands.
    assert executed < 60


async def test_the_cache_is_listed_by_its_index(target: Target):
    async def work() -> None:
        async for _ in cache_listing.pages():
            pass

    found = await plans(get_cache_engine().engine, work)
    assert any("cache_qa_entries" in statement for statement in found)
    assert whole_tables(found) == []


async def test_a_query_that_reads_a_whole_table_would_be_seen(target: Target):
    async def work() -> None:
        async with get_relational_engine().get_async_session() as session:
            await (await session.connection()).exec_driver_sql("SELECT * FROM session_memory_window WHERE attempts = 7")

    assert whole_tables(await plans(get_relational_engine().engine, work)) == ["SCAN session_memory_window"]
