"""How often cognee repeats a failing LLM call, counting its calls, and what litellm is spared."""

from typing import Any

import litellm
from cognee.infrastructure.llm.retry_config import LLM_MIN_RETRY_ATTEMPTS, should_retry_llm_exception
from cognee.infrastructure.llm.structured_output_framework.litellm_native.native_adapter import (
    NativeLiteLLMAdapter,
)
from cognee.shared import rate_limiting
from litellm.integrations.custom_logger import CustomLogger
from tenacity import RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay, wait_exponential_jitter

from session_memory import llm_usage
from session_memory.failures import REFUSED, UNREADABLE
from session_memory.llm_limits import Limits
from session_memory.settings import Settings


def bound_retries(seconds: float) -> None:
    """Make cognee repeat a failing call for `seconds` at most beyond two tries, and a refused text not at all.

    cognee's own policy repeats everything but a refused key for at least 240 s: a content-policy refusal too, and an
    answer that its own corrections could not make readable. It does not read `Retry-After`.
    tenacity offers `.retry` of a decorated function for changing its policy at run time.
    """
    policy = NativeLiteLLMAdapter.acreate_structured_output.retry
    backoff = wait_exponential_jitter(initial=min(8, seconds / 4), max=128, jitter=min(1, seconds / 4))

    def wait(state: RetryCallState) -> float:
        return min(max(backoff(state), _retry_after(state)), seconds)

    policy.wait = wait
    policy.stop = stop_after_attempt(LLM_MIN_RETRY_ATTEMPTS) & stop_before_delay(seconds)
    policy.retry = retry_if_exception(
        lambda error: should_retry_llm_exception(error) and not isinstance(error, (*REFUSED, *UNREADABLE))
    )


def copy_embeddings_cheaply() -> None:
    """Spare litellm the deep copy of every vector that it makes to blank the copy for its log.

    It does so because its log is told to hold no texts (`runtime`); of 1,000 vectors that is a second of CPU.
    """
    litellm.EmbeddingResponse.__deepcopy__ = lambda response, memo: response.model_copy()


def _retry_after(state: RetryCallState) -> float:
    """Seconds the provider asked to wait for, 0 when it did not say."""
    error = state.outcome.exception() if state.outcome else None
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        # The other form of the header is a date, which no LLM provider sends.
        return max(0.0, float(headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


class _Counter(CustomLogger):  # type: ignore[misc]
    # litellm runs these in the context of the call, so concurrent runs keep their own counts.

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        if kwargs.get("call_type") != "acompletion":
            return
        tokens = getattr(response_obj, "usage", None)
        tokens_in = getattr(tokens, "prompt_tokens", 0) or 0
        tokens_out = getattr(tokens, "completion_tokens", 0) or 0
        self._limits.note_tokens(tokens_in + tokens_out)
        usage = llm_usage.current()
        if usage is not None:
            usage.calls += 1
            usage.tokens_in += tokens_in
            usage.tokens_out += tokens_out

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        usage = llm_usage.current()
        if usage is not None and kwargs.get("call_type") == "acompletion":
            usage.calls += 1
            usage.failed_calls += 1


def limit_and_count_calls(settings: Settings) -> None:
    """Keep cognee's LLM calls within the settings' limits, and have litellm report each; once a process."""
    limits = Limits(settings)
    limits.install(rate_limiting)
    litellm.callbacks.append(_Counter(limits))
