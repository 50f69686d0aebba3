"""What the flow does, without Prefect: the same functions in the same order."""

import asyncio

from session_memory.access import authorise
from session_memory.commits import Commits
from session_memory.extraction import extract
from session_memory.models import Receipt
from session_memory.settings import get_settings
from session_memory.settlement import settle


async def persist(user: str, session_ids: list[str], dataset: str) -> None:
    """Persist sessions."""
    settings = get_settings()
    target = await authorise(user, dataset, settings)
    extraction = await extract(target, session_ids, settings)
    receipts: list[Receipt] = []
    async with Commits(target, holder="benchmark", settings=settings) as commits:
        for start in range(0, len(extraction.windows), settings.windows_per_group):
            group = extraction.windows[start : start + settings.windows_per_group]
            await commits.begin(group)
            receipts += await asyncio.gather(*(commits.fate(window) for window in group))
    await settle(target, extraction, receipts=receipts, errors={}, stopped=commits.stopped, settings=settings)
