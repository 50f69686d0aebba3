"""Documents stored together: each keeps what is its own, and shares what several say."""

from typing import Any

import pytest
from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.graph.ladybug.adapter import LadybugAdapter
from cognee.infrastructure.databases.vector import get_vector_engine_async
from cognee.infrastructure.databases.vector.embeddings import get_embedding_engine
from cognee.infrastructure.databases.vector.lancedb.LanceDBAdapter import LanceDBAdapter
from cognee.infrastructure.databases.vector.pgvector.PGVectorAdapter import PGVectorAdapter

from session_memory import graph_writer
from session_memory.access import authorise
from session_memory.settings import get_settings
from tests.running import persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def writes(monkeypatch):
    """How many statements add nodes, and how many rows are written to each table of vectors."""
    counted: dict[str, int] = {}
    joined_nodes, joined_points = LadybugAdapter.add_nodes, LanceDBAdapter.create_data_points
    query, merge = LadybugAdapter.query, LanceDBAdapter._records_for_write

    async def counting_query(self: Any, text: str, params: Any = None) -> Any:
        if "MERGE (n:Node" in text:
            counted["graph"] = counted.get("graph", 0) + 1
        return await query(self, text, params)

    def counting_merge(self: Any, records: Any) -> Any:
        counted["vectors"] = counted.get("vectors", 0) + 1
        return merge(self, records)

    monkeypatch.setattr(LadybugAdapter, "query", counting_query)
    monkeypatch.setattr(LanceDBAdapter, "_records_for_write", counting_merge)
    assert hasattr(joined_nodes, "__wrapped__")
    assert hasattr(joined_points, "__wrapped__")
    return counted


async def persisted(world: World, count: int) -> list[str]:
    """Sessions of one turn each that were persisted together, all about Everest."""
    sessions = [new_session() for _ in range(count)]
    for session in sessions:
        await world.say(session, f"What is Peak{session[-6:]}?", "It is near Everest.")
    report = await persist(world, *sessions)
    assert report.counts == {"persisted": count}
    return sessions


async def names(world: World) -> list[str]:
    """The names of the graph's entities."""
    return [str(node["name"]).lower() for node in await world.nodes() if node["type"] == "Entity"]


async def edges_to_everest(world: World) -> int:
    """How many edges say what is beside Everest: each document says the same."""
    async with set_database_global_context_variables(world.dataset.id, world.dataset.owner_id):
        nodes, edges = await (await get_graph_engine()).get_graph_data()
    await world.close_graph()
    everest = {str(key) for key, node in nodes if node["type"] == "Entity" and str(node["name"]).lower() == "everest"}
    return sum(str(edge[1]) in everest and edge[2] == "beside" for edge in edges)


async def test_documents_that_are_ready_together_are_written_together(world: World, llm, writes):
    await persisted(world, 6)
    # One by one: six statements, and 42 writes of vectors.
    assert writes["graph"] <= 3
    assert writes["vectors"] <= 21
    assert await world.all_stored_once()


async def test_what_documents_share_stays_until_the_last_of_them_goes(world: World, llm):
    sessions = await persisted(world, 3)
    target = await authorise(None, str(world.dataset.id), get_settings())
    found = {row.external_metadata["session_id"]: row.id for row in await world.documents()}
    own = {session: f"peak{session[-6:]}" for session in sessions}
    assert (await names(world)).count("everest") == 1
    for left in (2, 1, 0):
        session = sessions[left]
        await graph_writer.remove(target, found[session])
        now = await names(world)
        assert own[session] not in now
        assert [own[other] in now for other in sessions[:left]] == [True] * left
        assert now.count("everest") == bool(left)


async def test_what_later_documents_state_again_is_theirs_too(world: World, llm):
    await persisted(world, 1)
    await persisted(world, 2)
    target = await authorise(None, str(world.dataset.id), get_settings())
    assert await edges_to_everest(world) == 1
    for left, document in reversed(list(enumerate(reversed(await world.documents())))):
        await graph_writer.remove(target, document.id)
        assert await edges_to_everest(world) == bool(left)


async def test_every_document_is_found_by_its_vectors(world: World, llm):
    sessions = await persisted(world, 3)
    async with set_database_global_context_variables(world.dataset.id, world.dataset.owner_id):
        vectors = await get_vector_engine_async()
        for session in sessions:
            found = await vectors.search("DocumentChunk_text", query_text=f"Peak{session[-6:]}", limit=3)
            assert len(found) == 3
            chunks = await vectors.retrieve("DocumentChunk_text", [str(one.id) for one in found])
            assert any(f"Peak{session[-6:]}" in str(chunk.payload) for chunk in chunks)
        await get_graph_engine()
    await world.close_graph()


async def test_a_text_that_many_documents_have_is_embedded_once_and_each_text_gets_its_own_vector(
    world: World, llm, monkeypatch
):
    engine = get_embedding_engine()
    embedded: list[str] = []
    embed_text = type(engine).embed_text

    async def counting(self: Any, texts: list[str]) -> list[list[float]]:
        embedded.extend(texts)
        return await embed_text(self, texts)

    monkeypatch.setattr(type(engine), "embed_text", counting)
    await persisted(world, 6)
    assert embedded.count("everest") == 1
    texts = ["everest", "a longer text about a mountain", "everest", "a hill"]
    async with set_database_global_context_variables(world.dataset.id, world.dataset.owner_id):
        found = await (await get_vector_engine_async()).embed_data(texts)
    for vector, text in zip(found, texts, strict=True):
        (alone,) = await embed_text(engine, [text])
        assert vector == pytest.approx(alone, abs=0.05)


def test_pgvectors_writes_are_joined_too():
    assert hasattr(PGVectorAdapter.create_data_points, "__wrapped__")
