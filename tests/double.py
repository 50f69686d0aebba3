"""The LLM double: a litellm provider, like any other, that answers at once and can be told to fail."""

import asyncio
import itertools
import json
import math
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# litellm asks the network for prices when it is imported, unless told not to.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import httpx
import litellm
from litellm import CustomLLM, ModelResponse

PROVIDER = "double"
MODEL = "double/llm"

#: Set for another process: a text to refuse, and a file that gets a line for every call.
REFUSE_VARIABLE = "DOUBLE_REFUSE"
LOG_VARIABLE = "DOUBLE_LOG"
LATENCY_VARIABLE = "DOUBLE_LATENCY"
#: At which call the process kills itself.
KILL_VARIABLE = "DOUBLE_KILL"

ENVIRONMENT = {"LLM_PROVIDER": "custom", "LLM_MODEL": MODEL, "LLM_API_KEY": "double"}


@dataclass
class Double(CustomLLM):
    """Answers with the words of the text that are in capitals; every call is kept."""

    #: (schema title, text) of every call, the failing too.
    calls: list[tuple[str, str]] = field(default_factory=list)
    #: What a text that contains a marker raises, and how often more.
    failures: dict[str, tuple[Callable[[], Exception], float]] = field(default_factory=dict)
    #: What a text that contains a marker is answered with, and how often more.
    answers: dict[str, tuple[str, float]] = field(default_factory=dict)
    #: The text whose calls never return.
    hanging: str | None = None
    latency: float = 0.0
    on_call: Callable[[], None] = lambda: None
    #: While it is not set, no call returns.
    gate: asyncio.Event | None = None

    def reset(self) -> None:
        self.calls.clear()
        self.heal()
        self.latency = float(os.environ.get(LATENCY_VARIABLE, 0))
        self.gate = None
        self.on_call = lambda: None

    def heal(self) -> None:
        """Answer everything again."""
        self.failures.clear()
        self.answers.clear()
        self.hanging = None

    def fail(self, marker: str, error: Callable[[], Exception], times: float = math.inf) -> None:
        """Raise `error()` for the next `times` texts that contain `marker`."""
        self.failures[marker] = (error, times)

    def answer(self, marker: str, content: str, times: float = math.inf) -> None:
        """Answer the next `times` texts that contain `marker` with `content`."""
        self.answers[marker] = (content, times)

    def refuse(self, marker: str) -> None:
        """Refuse every text that contains `marker`, as a content filter does."""
        self.fail(marker, refused)

    async def acompletion(self, *args: Any, **kwargs: Any) -> ModelResponse:
        text = kwargs["messages"][-1]["content"]
        title = title_of((kwargs["optional_params"] or {}).get("response_format"), kwargs["messages"])
        self.calls.append((title, text))
        self.on_call()
        if log := os.environ.get(LOG_VARIABLE):
            with Path(log).open("a") as file:
                file.write(f"{title}\n")
        if len(self.calls) == int(os.environ.get(KILL_VARIABLE, 0)):
            os.kill(os.getpid(), signal.SIGKILL)
        if (error := _next(self.failures, text)) is not None:
            raise error()
        if self.hanging is not None and self.hanging in text:
            await asyncio.Event().wait()
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(self.latency)
        response: ModelResponse = kwargs["model_response"]
        answer = _next(self.answers, text)
        response.choices[0].message.content = answer_to(title, text) if answer is None else answer
        response.usage = litellm.Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)
        return response


double = Double()


def install() -> Double:
    """Register the double with litellm; in another process, armed as the environment says."""
    if not any(entry["provider"] == PROVIDER for entry in litellm.custom_provider_map):
        litellm.custom_provider_map.append({"provider": PROVIDER, "custom_handler": double})
        litellm.register_model(
            {
                MODEL: {
                    "litellm_provider": PROVIDER,
                    "mode": "chat",
                    "max_tokens": 16_384,
                    "max_input_tokens": 16_384,
                    "supports_response_schema": True,
                }
            }
        )
    double.reset()
    if marker := os.environ.get(REFUSE_VARIABLE):
        double.refuse(marker)
    return double


def refused() -> Exception:
    """A provider's content filter."""
    return litellm.ContentPolicyViolationError("the text is refused", MODEL, PROVIDER)


def key_refused() -> Exception:
    """A provider that does not know the key."""
    return litellm.AuthenticationError("bad key", PROVIDER, MODEL)


def quota_spent() -> Exception:
    """A provider whose budget is spent."""
    return litellm.RateLimitError("insufficient_quota", PROVIDER, MODEL)


def broken() -> Exception:
    """A provider that is down."""
    return litellm.InternalServerError("boom", PROVIDER, MODEL)


def too_many(retry_after: float) -> Exception:
    """A provider that asks to wait for so many seconds."""
    response = httpx.Response(
        429, headers={"retry-after": str(retry_after)}, request=httpx.Request("POST", "http://provider")
    )
    return litellm.RateLimitError("slow down", PROVIDER, MODEL, response=response)


def title_of(response_format: dict[str, Any] | None, messages: list[dict[str, Any]]) -> str:
    """The title of the schema whose object is asked for; empty when a text is."""
    if named := (response_format or {}).get("json_schema", {}).get("name"):
        return str(named)
    # Once corrected, or for a model without schemas, cognee asks with the schema in its prompt instead: the last title
    # of its object in cognee's indented form is its own.
    titles = re.findall(r'^  "title": "(\w+)"', messages[0]["content"], re.MULTILINE)
    return titles[-1] if titles else ""


def _next(planned: dict[str, tuple[Any, float]], text: str) -> Any:
    """What is planned for a text, once less from now on; None when nothing is."""
    for marker, (what, times) in planned.items():
        if marker in text and times > 0:
            planned[marker] = (what, times - 1)
            return what
    return None


def answer_to(title: str, text: str) -> str:
    """What the double answers to a text when an object of a schema is asked for."""
    words = list(dict.fromkeys(word.strip(".,?!:") for word in text.split() if word[:1].isupper()))[:12]
    if title == "KnowledgeGraph":
        nodes = [{"id": word, "name": word, "type": "Thing", "description": word} for word in words]
        edges = [
            {"source_node_id": left, "target_node_id": right, "relationship_name": "beside"}
            for left, right in itertools.pairwise(words)
        ]
        return json.dumps({"nodes": nodes, "edges": edges})
    if title == "SummarizedContent":
        return json.dumps({"summary": " ".join(words), "description": ""})
    if title == "SessionTurnAnalysis":
        return json.dumps({"query_to_answer": None, "response_to_user": None})
    return "An answer."
