"""A run that is stopped from outside while its LLM calls are under way."""

import signal

import pytest
from prefect.states import Cancelling

from session_memory.models import Outcome
from tests.faults import processes, runs
from tests.running import outcomes, persist, until
from tests.world import new_session

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.long]


async def begin(world) -> list[str]:
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    return sessions


@pytest.mark.fault("cancelled over the API in mid-window")
async def test_a_run_cancelled_over_the_api_is_cancelled_and_the_next_one_finishes(world, llm, count, tmp_path):
    sessions = await begin(world)
    calls, log = tmp_path / "calls", tmp_path / "log"
    slow = {processes.LOG: str(calls), processes.LATENCY: "120"}
    async with runs.scheduled(world, *sessions) as (client, run):
        # What watches for a cancellation is Prefect's runner, here as in a worker.
        async with runs.executing("-m", "prefect", "flow-run", "execute", str(run.id), log=log, **slow) as runner:
            await until(calls.exists, 120)
            await client.set_flow_run_state(run.id, Cancelling())
            await until(lambda: ended(client, run))
            await runner.wait()
        state = await runs.state_of(client, run)
    assert state.is_cancelled(), (state, log.read_text()[-2000:])
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("SIGTERM in mid-window")
async def test_a_terminated_run_is_neither_completed_nor_running_and_the_next_one_finishes(world, llm, count, tmp_path):
    sessions = await begin(world)
    calls, log = tmp_path / "calls", tmp_path / "log"
    slow = {processes.LOG: str(calls), processes.LATENCY: "120", "PREFECT__FLOW_ENTRYPOINT": runs.ENTRYPOINT}
    async with runs.scheduled(world, *sessions) as (client, run):
        async with runs.executing("-m", "prefect.engine", str(run.id), log=log, **slow) as engine:
            await until(calls.exists, 120)
            engine.send_signal(signal.SIGTERM)
            await engine.wait()
        state = await runs.state_of(client, run)
    assert state.is_crashed() or state.is_cancelled(), (state, log.read_text()[-2000:])
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.PERSISTED}
    await count(world)


async def ended(client, run) -> bool:
    return (await runs.state_of(client, run)).is_final()
