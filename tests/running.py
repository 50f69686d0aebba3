"""Runs the flow as a test needs it."""

import asyncio
from collections.abc import Callable
from typing import Any

from session_memory.access import authorise
from session_memory.errors import SessionsNotPersisted
from session_memory.models import Outcome, Target
from session_memory.report import PersistReport
from session_memory.settings import get_settings


async def persist(world, *session_ids: str, user: str | None = None, dataset: str | None = None) -> PersistReport:
    """Run the flow; its report, whether the run failed or not."""
    from flows.persist_sessions import persist_sessions

    try:
        return await persist_sessions(
            user=user or world.user.email,
            session_ids=list(session_ids),
            dataset=dataset or str(world.dataset.id),
        )
    except SessionsNotPersisted as error:
        assert error.report is not None
        return error.report


async def submit(world, session_id: str) -> PersistReport:
    """Hand a run of the flow to the background."""
    from flows.persist_sessions import persist_sessions

    return await persist_sessions(session_ids=[session_id], dataset=str(world.dataset.id), run_in_background=True)


async def target_of(world) -> Target:
    """The world's dataset, as its user may write it."""
    return await authorise(world.user.email, str(world.dataset.id), get_settings())


def outcomes(report: PersistReport) -> dict[str, Outcome]:
    """Session id to outcome."""
    return {session.session_id: session.outcome for session in report.sessions}


async def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if await met if asyncio.iscoroutine(met) else met:
                return
            await asyncio.sleep(0.1)
