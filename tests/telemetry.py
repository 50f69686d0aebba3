"""OpenTelemetry's SDK in this process, for as long as a test needs it, with what it is told kept in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from session_memory.metrics import set_levels


@dataclass
class Told:
    """What was told so far."""

    tracer_provider: TracerProvider
    _reader: InMemoryMetricReader
    _spans: InMemorySpanExporter

    def spans(self) -> list[ReadableSpan]:
        """The spans that ended, in that order."""
        return list(self._spans.get_finished_spans())

    def metrics(self) -> dict[str, dict[tuple[tuple[str, str], ...], Any]]:
        """By name and attributes: a value, or of a histogram the sum."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: {
                tuple(sorted(point.attributes.items())): getattr(point, "value", getattr(point, "sum", None))
                for point in metric.data.data_points
            }
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@contextmanager
def telling() -> Iterator[Told]:
    """The SDK in place of the API's stand-ins, which for a whole process can be replaced but once."""
    reader, exporter = InMemoryMetricReader(), InMemorySpanExporter()
    tracers, meters = TracerProvider(shutdown_on_exit=False), MeterProvider([reader], shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "get_tracer_provider", lambda: tracers)
        patch.setattr(metrics, "get_meter_provider", lambda: meters)
        # What runs of other tests left pending.
        set_levels(())
        yield Told(tracers, reader, exporter)
