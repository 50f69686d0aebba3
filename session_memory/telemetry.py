"""OpenTelemetry's providers: set up where the environment asks for one and nobody has, flushed when a run ends."""

import asyncio
import importlib
import logging
import os
from contextlib import suppress
from threading import Thread
from typing import Protocol

from opentelemetry import metrics, trace

_log = logging.getLogger(__name__)

_SIGNALS = ("TRACES", "METRICS")

#: Seconds for one export, its retries included. The SDK's own 10 would keep a process from ending that long, twice,
#: where no collector answers.
_EXPORT_SECONDS = "2"

#: Seconds a run waits for what it told to be sent.
_FLUSH_SECONDS = 3.0


class _Sdk(Protocol):
    def force_flush(self, timeout_millis: int = ...) -> bool: ...


def set_up() -> None:
    """Set up the SDK as its standard environment variables say, if they ask for traces or metrics and nobody has.

    To be called before a run begins: Prefect starts its own span of the run before the flow's code does anything. A
    worker's `opentelemetry-instrument` does not reach the processes that its runs are.
    """
    if not _is_asked_for() or _is_set_up():
        return
    try:
        # Found before anything is set, so that what is missing leaves nothing half set up.
        distro = importlib.import_module("opentelemetry.distro")
        _set_defaults()
        distro.OpenTelemetryConfigurator().configure()
    except Exception as error:  # noqa: BLE001 - an exporter of anybody's: what cannot be told stops no run
        _log.warning(
            # Not its message, which may quote a header's key.
            "The environment (OTEL_…) asks for traces or metrics, and they cannot be set up (%s). Install the extra "
            "`otel`, and the exporter that is asked for.",
            type(error).__name__,
        )


def is_measured() -> bool:
    """Whether metrics go anywhere."""
    return _is_sdk(metrics.get_meter_provider())


async def flush() -> None:
    """Send what was told so far, for a process that ends with its run; at most three seconds, and it raises nothing."""
    providers = [one for one in (trace.get_tracer_provider(), metrics.get_meter_provider()) if _is_sdk(one)]
    if providers:
        loop = asyncio.get_running_loop()
        # At the same time: a collector that does not answer costs its time once.
        await asyncio.wait([_begin_flush(one, loop) for one in providers], timeout=_FLUSH_SECONDS)  # type: ignore[arg-type]


def _begin_flush(provider: _Sdk, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
    done: asyncio.Future[None] = loop.create_future()

    def work() -> None:
        try:
            provider.force_flush(int(_FLUSH_SECONDS * 1000))
        except Exception as error:  # noqa: BLE001 - an exporter of anybody's
            _log.warning("Traces or metrics could not be sent: %s", type(error).__name__)
        # Nobody waits any more when the loop has ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(done.set_result, None)

    # Not the loop's own executor, whose threads a process waits for before it ends; and the SDK does not keep to the
    # timeout it is given.
    Thread(target=work, name="session-memory-flush", daemon=True).start()
    return done


def _is_asked_for() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return bool(os.environ.get("OTEL_CONFIG_FILE")) or any(map(_exporter, _SIGNALS))


def _exporter(signal: str) -> str | None:
    """The exporter that the environment names for a signal; None for none."""
    has_endpoint = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{part}ENDPOINT") for part in ("", f"{signal}_"))
    named = os.environ.get(f"OTEL_{signal}_EXPORTER") or ("otlp" if has_endpoint else "none")
    return None if named.strip().lower() == "none" else named


def _set_defaults() -> None:
    """What OpenTelemetry's specification has as defaults and its SDK for Python leaves to a distribution.

    Not those of `OpenTelemetryDistro`, which asks for logs too, and for gRPC.
    """
    for signal in _SIGNALS:
        os.environ.setdefault(f"OTEL_{signal}_EXPORTER", _exporter(signal) or "none")
    os.environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    os.environ.setdefault("OTEL_EXPORTER_OTLP_TIMEOUT", _EXPORT_SECONDS)
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault("OTEL_SERVICE_NAME", "session-memory")


def _is_set_up() -> bool:
    tracing = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    return tracing or _is_sdk(metrics.get_meter_provider())


def _is_sdk(provider: object) -> bool:
    # The API's own stand-ins can't be flushed; their classes for metrics are private.
    return hasattr(provider, "force_flush")
