"""The task that reads sessions from the cache and freezes what is pending of them in the ledger."""

from prefect import task
from prefect.cache_policies import INPUTS, RUN_ID
from prefect.tasks import exponential_backoff

from session_memory import runtime
from session_memory.models import Extraction, Target
from session_memory.settings import get_settings
from tasks.retry import is_transient


@task(
    task_run_name="extract sessions of {target.user_email}",
    # A run resumed after a crash goes on with the windows it had frozen; another run reads anew.
    cache_policy=INPUTS + RUN_ID,
    persist_result=True,
    result_serializer="json",
    retries=get_settings().task_retries,
    retry_delay_seconds=exponential_backoff(backoff_factor=get_settings().retry_delay_seconds),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
)
async def extract_user_sessions(target: Target, session_ids: list[str]) -> Extraction:
    """Freeze everything pending of the sessions and say what it is, without its text.

    Raises:
        CachingDisabled: cognee keeps no sessions.
        CacheUnreachable: the cache did not answer, after retries.
    """
    await runtime.start()
    from session_memory.extraction import extract

    return await extract(target, session_ids, get_settings())
