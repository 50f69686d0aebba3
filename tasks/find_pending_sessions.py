"""The task that finds what is pending, for every user, and decides what of it the run takes."""

from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from session_memory import runtime, telemetry
from session_memory.backlog import Backlog, LeftSession, Limits, PendingSession, choose
from session_memory.settings import get_settings
from tasks.retry import is_transient


@task(
    task_run_name="find pending sessions",
    # It tells what is pending now; a remembered answer would hide what was said since.
    cache_policy=NO_CACHE,
    retries=get_settings().task_retries,
    retry_delay_seconds=exponential_backoff(backoff_factor=get_settings().retry_delay_seconds),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
async def find_pending_sessions(users: list[str] | None, datasets: list[str] | None, limits: Limits) -> Backlog:
    """Look through the cache and the ledger, a page at a time, and split what is pending by `limits`.

    The gauges tell of it, so that a run that is killed has told.

    Args:
        users: e-mails or UUIDs; None for everybody.
        datasets: names or UUIDs; None for all.
        limits: what the run takes of it.

    Raises:
        UserNotFound, DatasetNotFound: a filter names what does not exist.
        CachingDisabled, CacheNotListed: there is no cache that can be asked.
        CacheUnreachable: it did not answer, after retries.
    """
    await runtime.start()
    from session_memory.discovery import discover

    pending: list[PendingSession] = []
    left: list[LeftSession] = []
    async for found in discover(users, datasets, get_settings()):
        (pending if isinstance(found, PendingSession) else left).append(found)  # type: ignore[arg-type]
    # What only some users have pending is no measure of a dataset.
    if users is None and telemetry.is_measured():
        from session_memory.measuring import measure

        await measure([*pending, *left], datasets, get_settings())
    return choose(pending, left, limits, now=datetime.now(UTC))
