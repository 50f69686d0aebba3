"""Which errors of a task are worth another try."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from session_memory.errors import SessionMemoryError


async def is_transient(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether trying again may help: errors that say so, and a timeout. Never a refused key or text."""
    # A plain `async def` on the async result: in an async task the synchronous form never retries.
    try:
        await state.aresult()
    except SessionMemoryError as error:
        return error.transient
    except TimeoutError:
        return True
    except Exception:  # noqa: BLE001 - a defect of ours or Prefect's: it would come back
        return False
    return False
