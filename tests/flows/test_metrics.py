"""What a run tells a collector of OpenTelemetry, in a process of its own as a worker's is."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from session_memory import measuring
from session_memory.errors import SessionsNotPersisted, StoreUnavailable
from session_memory.pending_report import PendingReport
from tests import double
from tests.collector import attributes, collecting
from tests.faults import processes, runs
from tests.faults.processes import Ended
from tests.running import persist
from tests.servers import free_port
from tests.telemetry import Told, telling
from tests.world import World, expire_in, new_session, new_user

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


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
    world = await World.new(await new_user(), "main_dataset")
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
    world = await World.new(await new_user(), "main_dataset")
    await world.say(new_session())
    ended = await pending_in_a_process(world, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert "1 persisted; 1 turn, " in told(ended)["summary"]
    assert "Failed to export" in ended.err
    assert await world.all_stored_once()


async def test_without_an_endpoint_nothing_is_set_up_and_nothing_is_said():
    world = await World.new(await new_user(), "main_dataset")
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


class Gauges:
    """The flow in this process, and what the gauges say of one world."""

    def __init__(self, told: Told, world: World) -> None:
        self._told = told
        self._world = world

    async def after(self, **parameters: Any) -> dict[str, float]:
        """Run the flow over the world's dataset; the gauges' values without the age."""
        from flows.persist_pending_sessions import persist_pending_sessions

        try:
            await persist_pending_sessions(**{"datasets": [str(self._world.dataset.id)]} | parameters)
        except SessionsNotPersisted as error:
            assert isinstance(error.report, PendingReport)
        return self.now()

    def now(self) -> dict[str, float]:
        of_world = ("session_memory.dataset.id", str(self._world.dataset.id))
        return {
            name.removeprefix("session_memory.turns."): value
            for name, of in self._told.metrics().items()
            for key, value in of.items()
            if of_world in key and not name.endswith("age")
        }


@pytest.fixture
async def own_world() -> World:
    return await World.new(await new_user(), "main_dataset")


@pytest.fixture
def gauges(own_world: World):
    with telling() as told:
        yield Gauges(told, own_world)


async def test_what_is_frozen_no_longer_expires_and_what_is_persisted_is_pending_no_more(gauges, own_world, llm):
    for _ in range(2):
        await own_world.say(new_session())
    nothing = {"pending": 0, "quarantined": 0}
    left = await gauges.after(expiring_within_hours=0.001)
    assert left == {"pending": 2, "quarantined": 0, "expiry": pytest.approx(7 * 24 * 3600, abs=600)}
    llm.fail("Marker", double.broken)
    assert await gauges.after() == {"pending": 2, "quarantined": 0}
    llm.heal()
    assert await gauges.after() == nothing
    assert await gauges.after() == nothing


async def test_a_refused_turn_is_quarantined_and_not_pending_although_it_is_tried_again(gauges, own_world, llm):
    session = new_session()
    refused = own_world.said[await own_world.say(session)]
    llm.refuse(refused.split()[-1])
    assert await gauges.after() == {"pending": 0, "quarantined": 1}
    assert await gauges.after(idle_minutes=5) == {"pending": 0, "quarantined": 1}
    await own_world.say(session)
    left = await gauges.after(idle_minutes=5)
    assert (left["pending"], left["quarantined"]) == (1, 1)
    llm.heal()
    assert await gauges.after() == {"pending": 0, "quarantined": 0}


async def test_a_run_of_some_users_leaves_the_gauges_alone(gauges, own_world):
    await own_world.say(new_session())
    before = await gauges.after(idle_minutes=5)
    assert before["pending"] == 1
    after = await gauges.after(users=[own_world.user.email])
    assert after == {**before, "expiry": pytest.approx(before["expiry"], abs=60)}
    assert await own_world.all_stored_once()


async def test_a_run_of_named_sessions_counts_and_sets_no_gauge(gauges, own_world):
    session = new_session()
    await own_world.say(session)
    await persist(own_world, session)
    assert gauges.now() == {}
    assert await gauges.after() == {"pending": 0, "quarantined": 0}


async def test_a_gauge_that_cannot_be_set_at_the_end_fails_no_run(gauges, own_world, monkeypatch):
    from flows.persist_pending_sessions import persist_pending_sessions

    await own_world.say(new_session())
    measure, measured = measuring.measure, []

    async def measure_once(*arguments: Any) -> None:
        measured.append(arguments)
        if len(measured) > 1:
            raise StoreUnavailable(kind="OperationalError")
        await measure(*arguments)

    monkeypatch.setattr(measuring, "measure", measure_once)
    report = await persist_pending_sessions(datasets=[str(own_world.dataset.id)])
    assert (report.turns_persisted, len(measured)) == (1, 4)
    assert gauges.now()["pending"] == 1
