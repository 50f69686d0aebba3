"""The task that says, from the dataset itself, what became of each session."""

from collections.abc import Sequence
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from session_memory.errors import SessionMemoryError
from session_memory.models import Extraction, Receipt, Target
from session_memory.report import SessionReport
from session_memory.settings import get_settings
from tasks.retry import is_transient


@task(
    task_run_name="settle sessions of {target.user_email}",
    # It tells what the dataset holds now; a remembered answer would be a claim.
    cache_policy=NO_CACHE,
    retries=get_settings().task_retries,
    retry_delay_seconds=exponential_backoff(backoff_factor=get_settings().retry_delay_seconds),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
async def settle_sessions(
    target: Target,
    extraction: Extraction,
    receipts: Sequence[Receipt],
    errors: dict[UUID, SessionMemoryError],
    stopped: SessionMemoryError | None,
) -> list[SessionReport]:
    """Report every session from what the dataset holds, and tell cognee's own path how far it is.

    Args:
        receipts: of the windows this run committed.
        errors: why a window was not committed, by its id.
        stopped: why the run did not get to the rest, if it did not.
    """
    from session_memory.settlement import settle

    return await settle(target, extraction, receipts=receipts, errors=errors, stopped=stopped, settings=get_settings())
