"""What a test does to cognee and reads back from it. Imports nothing of `session_memory`: it is the witness."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cognee.context_global_variables import set_database_global_context_variables
from cognee.infrastructure.databases.cache.get_cache_engine import get_cache_engine
from cognee.infrastructure.databases.cache.sql.tables import cache_qa_entries
from cognee.infrastructure.databases.graph import get_graph_engine
from cognee.infrastructure.databases.graph.config import get_graph_context_config
from cognee.infrastructure.databases.graph.get_graph_engine import graph_engine_cache
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.databases.relational.sqlalchemy.SqlAlchemyAdapter import SQLAlchemyAdapter
from cognee.infrastructure.databases.vector import get_vector_engine
from cognee.infrastructure.files.utils.open_data_file import open_data_file
from cognee.infrastructure.session.get_session_manager import get_session_manager
from cognee.modules.data.methods import create_authorized_dataset
from cognee.modules.data.models import Data, Dataset
from cognee.modules.users.methods import create_user, get_default_user
from cognee.modules.users.models import User
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine


@dataclass
class World:
    """One user and one dataset of their own, with what was said in its sessions."""

    user: User
    dataset: Dataset
    #: What every turn that was written says, by its qa_id.
    said: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def new(cls, user: User | None = None, name: str | None = None) -> "World":
        user = user or await get_default_user()
        dataset = await create_authorized_dataset(name or f"dataset-{uuid.uuid4().hex[:12]}", user)
        return cls(user=user, dataset=dataset)

    @classmethod
    async def own(cls, name: str = "main_dataset") -> "World":
        """Of a user who shares nothing with others."""
        return await cls.new(await new_user(), name)

    async def say(self, session_id: str, question: str | None = None, answer: str | None = None) -> str:
        """Cache a turn; returns its qa_id. Without words of its own it says something unique."""
        marker = f"Marker{uuid.uuid4().hex}"
        question = question or f"What is {marker}?"
        qa_id = await get_session_manager().add_qa(
            user_id=str(self.user.id),
            session_id=session_id,
            question=question,
            context="",
            answer=answer or f"{marker} is a thing.",
        )
        assert qa_id is not None
        self.said[qa_id] = question
        return qa_id

    async def edit(self, session_id: str, qa_id: str, question: str | None = None) -> str:
        """Change a cached turn's question; returns the new one."""
        question = question or f"What is Edited{uuid.uuid4().hex}?"
        assert await get_session_manager().update_qa(
            user_id=str(self.user.id), session_id=session_id, qa_id=qa_id, question=question
        )
        self.said[qa_id] = question
        return question

    async def delete(self, session_id: str, qa_id: str) -> None:
        """Delete a cached turn."""
        assert await get_session_manager().delete_qa(user_id=str(self.user.id), session_id=session_id, qa_id=qa_id)

    async def expire(self, session_id: str) -> None:
        """Let the cache forget a session."""
        await get_session_manager().delete_session(user_id=str(self.user.id), session_id=session_id)

    async def cached(self, session_id: str) -> list[str]:
        """The qa_ids in the cache."""
        entries = await get_session_manager().get_session(user_id=str(self.user.id), session_id=session_id)
        return [entry.qa_id for entry in entries]

    async def documents(self) -> list[Data]:
        """The dataset's rows that cognee finished."""
        async with get_relational_engine().get_async_session() as session:
            rows = (await session.scalars(select(Data).where(Data.dataset_id == self.dataset.id))).all()
        return [
            row
            for row in rows
            if "COMPLETED" in str((row.pipeline_status or {}).get("cognify_pipeline", {}).get(str(self.dataset.id)))
        ]

    async def document_texts(self) -> list[str]:
        """The texts of the finished documents."""
        texts = []
        for row in await self.documents():
            async with open_data_file(row.raw_data_location, mode="r", encoding="utf-8") as file:
                texts.append(file.read())
        return texts

    async def nodes(self) -> list[dict[str, Any]]:
        """The id and properties of every node of the dataset's graph."""
        async with set_database_global_context_variables(self.dataset.id, self.dataset.owner_id):
            nodes, _ = await (await get_graph_engine()).get_graph_data()
        await self.close_graph()
        return [{**properties, "id": str(node_id)} for node_id, properties in nodes]

    async def vector_rows(self) -> dict[str, list[str]]:
        """Every row of the dataset's own database, where its vectors are in one (pgvector) and not in files."""
        async with set_database_global_context_variables(self.dataset.id, self.dataset.owner_id):
            vectors = get_vector_engine()
            return await all_rows(vectors.engine) if isinstance(vectors, SQLAlchemyAdapter) else {}

    async def close_graph(self) -> None:
        """Close the graph in this process, so that another one can open it."""
        async with set_database_global_context_variables(self.dataset.id, self.dataset.owner_id):
            graph_engine_cache.evict(force_close=True, **get_graph_context_config())
        await graph_engine_cache.aevict_for_database(str(self.dataset.id))

    async def chunk_texts(self) -> list[str]:
        """The texts of the chunks in the graph."""
        return [str(node["text"]) for node in await self.nodes() if node.get("type") == "DocumentChunk"]

    async def times(self, words: str) -> tuple[int, int]:
        """How often words stand in the finished documents and in the graph's chunks."""
        return (
            sum(text.count(words) for text in await self.document_texts()),
            sum(text.count(words) for text in await self.chunk_texts()),
        )

    async def stored(self) -> dict[str, tuple[int, int]]:
        """How often each turn that was said stands in documents and in chunks."""
        documents, chunks = await self.document_texts(), await self.chunk_texts()
        return {
            qa_id: (
                sum(text.count(question) for text in documents),
                sum(text.count(question) for text in chunks),
            )
            for qa_id, question in self.said.items()
        }

    async def all_stored_once(self) -> bool:
        """Whether every turn that was said is in the dataset exactly once."""
        return set((await self.stored()).values()) <= {(1, 1)}


async def new_user() -> User:
    """A user who shares nothing with others."""
    return await create_user(f"user-{uuid.uuid4().hex[:10]}@example.com", "a password of a test")


def new_session() -> str:
    """A session id nobody used, with a colon and a space in it, as real ones have."""
    return f"chat: {uuid.uuid4().hex[:10]}"


async def expire_in(world: World, session_id: str, hours: float) -> None:
    """Let the cache lose a session after so many hours."""
    async with get_cache_engine().sessionmaker() as session:
        await session.execute(
            update(cache_qa_entries)
            .where(cache_qa_entries.c.user_id == str(world.user.id), cache_qa_entries.c.session_id == session_id)
            .values(expires_at=datetime.now(UTC) + timedelta(hours=hours))
        )
        await session.commit()


async def all_rows(engine: AsyncEngine | None = None) -> dict[str, list[str]]:
    """Every row of every table of a database, cognee's relational one unless told, as text, by table name."""
    from sqlalchemy import MetaData

    engine = engine or get_relational_engine().engine
    async with engine.connect() as connection:
        metadata = MetaData()
        await connection.run_sync(metadata.reflect)
        return {
            # As text and in order: vectors do not compare, and Postgres returns rows in the order of their last change.
            table.name: sorted(str(row) for row in await connection.execute(select(table)))
            for table in metadata.sorted_tables
        }


def files_below(folder: Path) -> list[Path]:
    """Every file in a folder and in those below it."""
    return [path for path in folder.rglob("*") if path.is_file()]
