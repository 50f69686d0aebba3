"""Draws what a run added, from what its commits noted, into a file of this machine."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from session_memory import ledger
from session_memory.holdings import HeldSession
from session_memory.models import Receipt, Target
from session_memory.picture import folder, page
from session_memory.picture.additions import Additions
from session_memory.picture.composing import compose
from session_memory.settings import Settings


async def draw(
    additions: Additions,
    target: Target,
    receipts: Sequence[Receipt],
    *,
    run: str,
    run_id: str,
    url: str | None,
    settings: Settings,
) -> Path | None:
    """Draw the picture of a run and remove the oldest ones.

    Args:
        receipts: of all that the run stored.
        run, run_id, url: how the run is called, and its page.

    Returns:
        The file; None when the run added nothing, or nothing is to be drawn.

    Raises:
        OSError: the file cannot be written.
        SessionMemoryError: the ledger cannot be asked.
    """
    place = folder.folder_in(settings.state_path)
    if not additions.documents or not settings.pictures:
        await asyncio.to_thread(folder.prune, place, settings.pictures)
        return None
    sessions = list(dict.fromkeys(document.session_id for document in additions.documents.values()))
    found = await ledger.sessions_in(target, sessions)
    held = {session_id: one for session_id, one in found.items() if isinstance(one, HeldSession)}
    picture = compose(additions, held, receipts)
    heading = page.Heading(dataset=target.dataset_name, run=run, url=url, at=datetime.now(UTC))

    def drawn() -> Path:
        path = folder.keep(
            place, page.render(picture, heading), at=heading.at, dataset=target.dataset_name, run_id=run_id
        )
        folder.prune(place, settings.pictures)
        return path

    # Not on the loop: other datasets' commits go on meanwhile.
    return await asyncio.to_thread(drawn)
