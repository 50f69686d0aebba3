"""The task that sets the gauges from what a run over everything pending left."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from session_memory.backlog import LeftSession
from session_memory.settings import get_settings
from tasks.retry import is_transient


@task(
    task_run_name="measure what is pending",
    cache_policy=NO_CACHE,
    retries=get_settings().task_retries,
    retry_delay_seconds=exponential_backoff(backoff_factor=get_settings().retry_delay_seconds),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
async def measure_pending(left: list[LeftSession], datasets: list[str] | None) -> None:
    """Tell the gauges what is pending and quarantined now.

    Args:
        left: every session that still has unpersisted turns.
        datasets: names or UUIDs, where only some were looked at; None for all.

    Raises:
        StoreUnavailable: the ledger could not be read, after retries.
    """
    from session_memory.measuring import measure

    await measure(left, datasets, get_settings())
