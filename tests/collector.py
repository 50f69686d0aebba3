"""A collector of OpenTelemetry's on loopback: takes what is exported over HTTP, decodes it, keeps every byte."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

_REQUESTS = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


@dataclass
class Collector:
    """What was exported to `endpoint`."""

    endpoint: str
    #: Path and body of every request.
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    def spans(self) -> dict[str, Any]:
        """The last span of each name."""
        return {
            span.name: span
            for request in self._requests("/v1/traces")
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }

    def metrics(self) -> dict[str, Any]:
        """Each of our metrics as it was sent last, by its name."""
        return {
            metric.name: metric
            for request in self._requests("/v1/metrics")
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == "session_memory"
            for metric in scope.metrics
        }

    def services(self) -> set[str]:
        """The names of the services that told."""
        return {
            attributes(resource.resource)["service.name"]
            for path in _REQUESTS
            for request in self._requests(path)
            for resource in (request.resource_spans if path == "/v1/traces" else request.resource_metrics)
        }

    def _requests(self, path: str) -> Iterator[Any]:
        for at, body in self.bodies:
            if at == path:
                yield _REQUESTS[path].FromString(body)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attributes(holder: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    return {one.key: _value(one) for one in holder.attributes}


def _value(attribute: KeyValue) -> Any:
    kind = attribute.value.WhichOneof("value")
    value = getattr(attribute.value, kind)
    return [one.string_value for one in value.values] if kind == "array_value" else value
