"""The LLM double behind HTTP, for processes that a worker starts: a provider with an endpoint, like any other."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests import double


class LLMServer:
    """Answers chat completions as the double does."""

    def __init__(self) -> None:
        self.calls = 0
        #: Calls that are kept waiting.
        self.held = 0
        #: Texts that contain it get no answer while it is set.
        self.hanging: str | None = None
        #: Texts that contain it are refused, as a content filter does.
        self.refusing: str | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status, answer = server.answer(body)
                payload = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True

    @property
    def environment(self) -> dict[str, str]:
        """What makes cognee ask this server."""
        return {
            "LLM_PROVIDER": "custom",
            "LLM_MODEL": "openai/double",
            "LLM_API_KEY": "double",
            "LLM_ENDPOINT": f"http://127.0.0.1:{self._http.server_port}/v1",
        }

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        text = request["messages"][-1]["content"]
        self.calls += 1
        self.held += 1
        while self.hanging and self.hanging in text:
            time.sleep(0.05)
        self.held -= 1
        if self.refusing and self.refusing in text:
            code = "content_policy_violation"
            return 400, {"error": {"message": code, "type": "invalid_request_error", "code": code}}
        content = double.answer_to(double.title_of(request.get("response_format"), request["messages"]), text)
        message = {"role": "assistant", "content": content}
        return 200, {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": request["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }

    @contextmanager
    def serving(self) -> Iterator["LLMServer"]:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.hanging = self.refusing = None
            self._http.shutdown()
            self._http.server_close()
