"""Lets quarantined turns be tried again."""

from session_memory import access, ledger
from session_memory.errors import WindowNotFound
from session_memory.settings import get_settings


async def release(user: str | None, session_id: str, dataset: str) -> int:
    """Make the quarantined windows of a session pending again, with their attempts forgotten; returns how many.

    Raises:
        WindowNotFound: none is quarantined.
        UserNotFound, DatasetNotFound, NoWritePermission: as for a run.
    """
    target = await access.authorise(user, dataset, get_settings())
    released = await ledger.release(target, session_id)
    if not released:
        raise WindowNotFound(session_id=session_id)
    return released
