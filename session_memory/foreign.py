"""What cognee's own path has stored of a session in a dataset, read from the documents themselves.

cognee's watermark is a count: after a deletion or an expiry it covers turns that were never stored. So a turn
counts as stored only if its own text stands in a finished document that we did not write.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from uuid import UUID

from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.infrastructure.files.utils.open_data_file import open_data_file
from cognee.modules.data.models import Data
from sqlalchemy import String, cast, select

from session_memory.document import MARKER, CachedTurn, Turn, hashes_in, header
from session_memory.ledger import is_complete
from session_memory.models import Target
from session_memory.planning import NODE_SET


class ForeignDocuments:
    """The session documents of a dataset that cognee's own path wrote, read once when first asked for."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._by_session: dict[str, dict[UUID, str]] | None = None

    async def stored(self, session_id: str, turns: Sequence[CachedTurn | Turn], *, counted: Counter[str]) -> set[str]:
        """Ids of those `turns`, oldest first, whose text these documents hold.

        A turn that was masked when it was frozen is known by its hash, which is of what was said. `counted` says how
        many turns of a hash are already counted against the documents, so that the same words said twice and stored
        once count once.
        """
        texts = (await self._documents()).get(header(session_id), {}).values()
        if not texts:
            return set()
        found: set[str] = set()
        taken = counted.copy()
        by_hash = sum((hashes_in(text) for text in texts), Counter[str]())
        for turn in turns:
            times = max(sum(text.count(turn.bare_text) for text in texts), by_hash[turn.hash])
            if times > taken[turn.hash]:
                taken[turn.hash] += 1
                found.add(turn.qa_id)
        return found

    async def of(self, session_id: str) -> list[UUID]:
        """The documents of a session."""
        return list((await self._documents()).get(header(session_id), {}))

    async def _documents(self) -> dict[str, dict[UUID, str]]:
        if self._by_session is None:
            documents: dict[str, dict[UUID, str]] = defaultdict(dict)
            for data_id, location in await self._locations():
                text = await read_text(location)
                documents[text[: text.find("\n\n") + 2]][data_id] = text
            self._by_session = documents
        return self._by_session

    async def _locations(self) -> list[tuple[UUID, str]]:
        async with get_relational_engine().get_async_session() as session:
            rows = await session.execute(
                select(Data.id, Data.raw_data_location, Data.external_metadata).where(
                    is_complete(self._target.dataset_id),
                    Data.owner_id == self._target.user_id,
                    cast(Data.node_set, String).contains(NODE_SET),
                )
            )
        return [(data_id, location) for data_id, location, metadata in rows if MARKER not in (metadata or {})]


async def locations_of(target: Target, data_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Where the texts of those documents are stored that the dataset has."""
    async with get_relational_engine().get_async_session() as session:
        rows = await session.execute(
            select(Data.id, Data.raw_data_location).where(Data.id.in_(data_ids), Data.dataset_id == target.dataset_id)
        )
        return {data_id: location for data_id, location in rows}


async def read_text(location: str) -> str:
    """The text of a stored document, to the character: turns stand in it at places that are counted."""
    # As bytes: read as text, Python would make one character of each `\r\n`.
    async with open_data_file(location, mode="rb") as file:
        return bytes(file.read()).decode("utf-8")
