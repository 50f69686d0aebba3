"""A run's picture: drawn when everything is stored, and worth no failure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect import get_run_logger
from prefect.runtime import flow_run

from flows import background
from session_memory.models import Receipt, Target
from session_memory.settings import Settings

if TYPE_CHECKING:
    from session_memory.picture.additions import Additions


async def draw(additions: "Additions", target: Target, receipts: Sequence[Receipt], settings: Settings) -> str | None:
    """The file that shows what this run added; None when it added nothing or could not be drawn.

    No Prefect task: its parameters would be names that a conversation is about.
    """
    from session_memory.failures import told_of
    from session_memory.picture import drawing

    try:
        path = await drawing.draw(
            additions,
            target,
            receipts,
            run=str(flow_run.name),
            run_id=str(flow_run.id),
            url=background.url_of(flow_run.id),
            settings=settings,
        )
    except Exception as error:  # noqa: BLE001 - whatever it is, the turns are stored
        get_run_logger().warning(
            "The picture of this run could not be drawn (%s); nothing else is affected.", told_of(error)
        )
        return None
    if additions.failure:
        get_run_logger().warning(
            "Not everything that this run stored could be read for its picture (%s).", additions.failure
        )
    return str(path) if path else None
