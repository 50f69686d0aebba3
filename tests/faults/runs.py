"""Flow runs of a deployment, executed and stopped as Prefect's workers do it."""

import asyncio
import sys
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State

from tests.faults import processes

ENTRYPOINT = "tests/faults/persist_with_double.py:persist_sessions"


@asynccontextmanager
async def scheduled(world, *sessions: str, key: str | None = None) -> AsyncIterator[tuple[PrefectClient, FlowRun]]:
    """A run of a deployment of the flow, with the LLM double, that nobody executes yet."""
    from flows.persist_sessions import persist_sessions

    async with get_client() as client:
        flow_id = await client.create_flow(persist_sessions)
        deployment = await client.create_deployment(
            flow_id, name="with-the-double", entrypoint=ENTRYPOINT, path=str(processes.ROOT)
        )
        parameters = {"session_ids": list(sessions), "dataset": str(world.dataset.id)}
        yield (
            client,
            await client.create_flow_run_from_deployment(deployment, parameters=parameters, idempotency_key=key),
        )


async def execute(run: FlowRun, **extra: str) -> processes.Ended:
    """What a process worker runs for a flow run, to its end."""
    return await processes.program("-m", "prefect.engine", str(run.id), PREFECT__FLOW_ENTRYPOINT=ENTRYPOINT, **extra)


@asynccontextmanager
async def executing(*arguments: str, log: Path, **extra: str) -> AsyncIterator[Process]:
    """A Python program that goes on while the test does; ended with the block."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, *arguments],
            cwd=processes.ROOT,
            env=processes.environment(**extra),
            stdout=output,
            stderr=STDOUT,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def state_of(client: PrefectClient, run: FlowRun) -> State[Any]:
    state = (await client.read_flow_run(run.id)).state
    assert state is not None
    return state


async def task_states(client: PrefectClient, run: FlowRun, prefix: str) -> list[str]:
    """The names of the last states of a run's tasks whose name begins so."""
    tasks = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    latest = {task.name: task for task in sorted(tasks, key=lambda task: task.created)}
    return sorted(str(task.state_name) for name, task in latest.items() if name.startswith(prefix))
