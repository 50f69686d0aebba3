"""What a run tells a collector of OpenTelemetry, in a process of its own as a worker's is."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from tests.collector import attributes, collecting
from tests.faults import processes, runs
from tests.faults.processes import Ended
from tests.servers import free_port
from tests.telemetry import telling
from tests.world import World, expire_in, new_session

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("prefect_server", "llm")]


async def pending_in_a_process(world: World, *, max_sessions: int = 100, **environment: str) -> Ended:
    return await processes.program(
        "-m", "tests.flows.pending_with_double", str(world.dataset.id), str(max_sessions), **environment
    )


def told(ended: Ended) -> dict[str, Any]:
    """The last line of its output."""
    assert ended.returncode == 0, ended.output
    found: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    return found


def points(metric: Any) -> list[Any]:
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


def gauge(metric: Any, world: World) -> float:
    """The value for a world's dataset."""
    (value,) = [
        point.as_double or point.as_int
        for point in points(metric)
        if attributes(point)
        == {"session_memory.dataset.id": str(world.dataset.id), "session_memory.dataset.name": world.dataset.name}
    ]
    return value


async def test_a_collector_is_told_what_was_done_and_what_is_pending_and_no_text(tmp_path):
    world = await World.own()
    persisted, refused, left = (new_session() for _ in range(3))
    for session, hours in ((persisted, 5), (persisted, 5), (refused, 6), (left, 10.1)):
        await world.say(session)
        await expire_in(world, session, hours)
    markers = [question.removeprefix("What is ").rstrip("?") for question in world.said.values()]
    said_at = time.time()
    log = tmp_path / "calls"
    with collecting() as collector:
        ended = await pending_in_a_process(
            world,
            max_sessions=2,
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            **{processes.REFUSE: markers[2], processes.LOG: str(log)},
        )
    assert "1 quarantined, 1 persisted; 2 turns" in told(ended)["summary"]
    assert "1 left (1 over max_sessions)" in told(ended)["summary"]
    for path, body in collector.bodies:
        assert not any(marker.encode() in body for marker in markers), path
    assert collector.services() == {"session-memory"}

    metrics = collector.metrics()
    assert {name: metric.unit for name, metric in metrics.items()} == {
        "session_memory.turns.pending": "{turn}",
        "session_memory.turns.pending.age": "s",
        "session_memory.turns.expiry": "s",
        "session_memory.turns.quarantined": "{turn}",
        "session_memory.turns.persisted": "{turn}",
        "session_memory.llm.calls": "{call}",
        "session_memory.llm.tokens": "{token}",
        "session_memory.run.duration": "s",
    }
    assert gauge(metrics["session_memory.turns.pending"], world) == 1
    assert 0 < gauge(metrics["session_memory.turns.pending.age"], world) < time.time() - said_at + 5
    assert 10 * 3600 < gauge(metrics["session_memory.turns.expiry"], world) < 10.1 * 3600
    assert gauge(metrics["session_memory.turns.quarantined"], world) == 1
    assert [point.as_int for point in points(metrics["session_memory.turns.persisted"])] == [2]
    (calls,) = points(metrics["session_memory.llm.calls"])
    assert (calls.as_int, attributes(calls)) == (
        processes.calls_in(log),
        {"gen_ai.request.model": "double/llm"},
    )
    tokens = {
        attributes(point)["gen_ai.token.type"]: point.as_int for point in points(metrics["session_memory.llm.tokens"])
    }
    assert tokens == {"input": 20, "output": 10}
    assert {tuple(sorted(attributes(point).items())) for point in points(metrics["session_memory.run.duration"])} == {
        (("error.type", "sessions_not_persisted"), ("session_memory.flow", flow))
        for flow in ("persist_sessions", "persist_pending_sessions")
    }

    spans = collector.spans()
    night, run = spans["session_memory.persist_pending_sessions"], spans["session_memory.persist_sessions"]
    by_id = {span.span_id: span for span in spans.values()}
    assert attributes(by_id[night.parent_span_id])["prefect.run.id"] == attributes(night)["prefect.run.id"]
    assert attributes(by_id[run.parent_span_id])["prefect.run.type"] == "flow"
    assert run.trace_id == night.trace_id
    facts = attributes(run)
    assert facts.pop("session_memory.run.duration") > 0
    assert facts == {
        "prefect.run.id": facts["prefect.run.id"],
        "session_memory.dataset.id": str(world.dataset.id),
        "session_memory.dataset.name": world.dataset.name,
        "session_memory.sessions.persisted": 1,
        "session_memory.sessions.quarantined": 1,
        "session_memory.turns.persisted": 2,
        "session_memory.llm.calls": processes.calls_in(log),
        "gen_ai.request.model": "double/llm",
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 10,
        "error.type": "sessions_not_persisted",
        "session_memory.error.codes": ["document_refused"],
    }
    assert (run.status.code, run.status.message, len(run.events)) == (2, "sessions_not_persisted", 0)
    assert attributes(night)["session_memory.sessions.left"] == 1


async def test_a_run_on_a_worker_is_of_the_trace_that_asked_for_it():
    from flows import background

    world = await World.new()
    session = new_session()
    await world.say(session)
    with collecting() as collector, telling() as told:
        async with runs.scheduled(world, session) as (client, before):
            with told.tracer_provider.get_tracer("an application").start_as_current_span("asking") as asking:
                run = await background._create(client, before.deployment_id, before.parameters, "asked")
            ended = await runs.execute(run, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
    assert ended.returncode == 0, ended.output
    spans = collector.spans()
    ours = spans["session_memory.persist_sessions"]
    prefects = spans[run.name]
    assert (ours.parent_span_id, prefects.trace_id.hex()) == (
        prefects.span_id,
        f"{asking.get_span_context().trace_id:032x}",
    )
    # Sent as well where the process ends at once: what Prefect told last.
    assert prefects.end_time_unix_nano > ours.end_time_unix_nano
    assert [point.as_int for point in points(collector.metrics()["session_memory.turns.persisted"])] == [1]


async def test_a_collector_that_nobody_reaches_fails_no_run():
    world = await World.own()
    await world.say(new_session())
    ended = await pending_in_a_process(world, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert "1 persisted; 1 turn, " in told(ended)["summary"]
    assert "Failed to export" in ended.err
    assert await world.all_stored_once()


async def test_without_an_endpoint_nothing_is_set_up_and_nothing_is_said():
    world = await World.own()
    await world.say(new_session())
    ended = await pending_in_a_process(world)
    assert told(ended)["providers"] == ["ProxyTracerProvider", "_ProxyMeterProvider"]
    assert "measure what is pending" not in ended.err
    assert "telemetry" not in ended.err.lower()


def test_without_an_endpoint_our_own_modules_load_no_sdk():
    # In the flow cognee loads it, where it is installed.
    code = "import sys; from session_memory import run_span; print('opentelemetry.sdk' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=processes.ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
