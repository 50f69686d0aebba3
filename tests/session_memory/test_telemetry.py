"""When OpenTelemetry's SDK is set up, and how long it may keep a run."""

import asyncio
import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from opentelemetry import metrics, trace

from session_memory import telemetry
from tests.telemetry import telling

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.fixture
def set_up(monkeypatch):
    """Set up with an environment; the variables it was configured with, None when it was not."""

    def set_up(environment: dict[str, str]) -> dict[str, str] | None:
        configured = []
        configurator = SimpleNamespace(configure=lambda: configured.append(dict(os.environ)))
        distro = SimpleNamespace(OpenTelemetryConfigurator=lambda: configurator)
        monkeypatch.setitem(sys.modules, "opentelemetry.distro", distro)
        monkeypatch.setattr(os, "environ", dict(environment))
        telemetry.set_up()
        return configured[0] if configured else None

    return set_up


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_SERVICE_NAME": "agents"},
        {"OTEL_TRACES_EXPORTER": "none"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "None"},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://collector:4318/v1/logs"},
    ],
)
def test_nothing_is_set_up_that_is_not_asked_for(set_up, environment):
    assert set_up(environment) is None


@pytest.mark.parametrize(
    ("environment", "traces", "metrics_"),
    [
        (ENDPOINT, "otlp", "otlp"),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"}, "otlp", "none"),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "console"}, "console", "otlp"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "none", "prometheus"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, "otlp", "none"),
    ],
)
def test_what_is_asked_for_is_exported_and_no_more(set_up, environment, traces, metrics_):
    found = set_up(environment)
    assert found is not None
    assert (found["OTEL_TRACES_EXPORTER"], found["OTEL_METRICS_EXPORTER"]) == (traces, metrics_)
    assert "OTEL_LOGS_EXPORTER" not in found
    assert (found["OTEL_EXPORTER_OTLP_PROTOCOL"], found["OTEL_SERVICE_NAME"]) == ("http/protobuf", "session-memory")


def test_what_an_operator_chose_stays(set_up):
    chosen = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TIMEOUT": "7", "OTEL_SERVICE_NAME": "agents"}
    assert chosen.items() <= set_up(ENDPOINT | chosen).items()
    found = set_up(ENDPOINT | {"OTEL_RESOURCE_ATTRIBUTES": "service.name=agents"})
    assert "OTEL_SERVICE_NAME" not in found


def test_providers_that_somebody_set_are_left_alone(set_up):
    with telling():
        assert set_up(ENDPOINT) is None


def test_without_the_extra_a_run_goes_untold_and_the_log_says_why(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "opentelemetry.distro", None)
    monkeypatch.setattr(os, "environ", dict(ENDPOINT))
    telemetry.set_up()
    assert "Install the extra `otel`" in caplog.text
    assert os.environ == ENDPOINT
    assert not telemetry.is_measured()


async def test_a_provider_that_hangs_keeps_a_run_a_short_time_and_the_loop_not_at_all(monkeypatch):
    release = threading.Event()
    hangs = SimpleNamespace(force_flush=lambda timeout: release.wait(30))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: hangs)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: hangs)
    monkeypatch.setattr(telemetry, "_FLUSH_SECONDS", 0.5)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    started = time.monotonic()
    await telemetry.flush()
    assert time.monotonic() - started < 2
    assert ticks > 5
    ticking.cancel()
    release.set()


async def test_a_provider_that_fails_fails_no_run(monkeypatch, caplog):
    def fail(timeout: int) -> bool:
        raise RuntimeError("What is Marker?")

    monkeypatch.setattr(metrics, "get_meter_provider", lambda: SimpleNamespace(force_flush=fail))
    await telemetry.flush()
    assert "could not be sent: RuntimeError" in caplog.text
    assert "Marker" not in caplog.text


async def test_without_a_provider_there_is_nothing_to_send():
    before = threading.active_count()
    await telemetry.flush()
    assert threading.active_count() == before
