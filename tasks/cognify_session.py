"""The task that stands for one window: it waits for the window's commit and gives the receipt."""

from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from session_memory.models import Receipt, Window
from session_memory.settings import get_settings
from tasks.retry import is_transient

if TYPE_CHECKING:
    from session_memory.commits import Commits


def window_key(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """A receipt holds for its window within its flow run: no cache outlives what the dataset may lose later."""
    return f"{context.task_run.flow_run_id}-{parameters['window'].data_id}"


@task(
    task_run_name="cognify {window.session_id}",
    cache_policy=CacheKeyFnPolicy(cache_key_fn=window_key),
    persist_result=True,
    result_serializer="json",
    retries=get_settings().task_retries,
    retry_delay_seconds=exponential_backoff(backoff_factor=get_settings().retry_delay_seconds),
    retry_jitter_factor=0.5,
    retry_condition_fn=is_transient,
    timeout_seconds=get_settings().cognify_timeout_seconds,
)
async def cognify_session(window: Window, commits: "Commits") -> Receipt:
    """Wait until the window is in the dataset.

    Args:
        window: what to wait for; the commit itself is the flow's.
        commits: the flow's commits. A retry after a timeout rejoins the window's commit; after a failure it
            commits the window by itself.

    Raises:
        SessionMemoryError: why the window is not in the dataset.
    """
    return await commits.fate(window)
