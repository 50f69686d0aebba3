"""How often cognee repeats a failing LLM call, what its errors mean, and counting its calls."""

from collections.abc import Iterator
from typing import Any

import litellm
from cognee.infrastructure.llm.exceptions import (
    ContentPolicyFilterError,
    LLMPaymentRequiredError,
    LLMQuotaExceededError,
)
from cognee.infrastructure.llm.retry_config import (
    LLM_MIN_RETRY_ATTEMPTS,
    is_quota_or_billing_error,
    should_retry_llm_exception,
)
from cognee.infrastructure.llm.structured_output_framework.litellm_native.native_adapter import (
    NativeLiteLLMAdapter,
)
from litellm.integrations.custom_logger import CustomLogger
from tenacity import retry_if_exception, stop_after_attempt, stop_after_delay

from session_memory import llm_usage
from session_memory.errors import (
    DocumentRefused,
    LLMQuotaSpent,
    LLMRefusedKey,
    LLMUnavailable,
    SessionMemoryError,
    WriteFailed,
)

_KEY_REFUSED = (litellm.AuthenticationError, litellm.PermissionDeniedError, litellm.NotFoundError)
_QUOTA_SPENT = (LLMPaymentRequiredError, LLMQuotaExceededError, litellm.BudgetExceededError)
# The same text gets the same answer, however often it is sent.
_REFUSED = (ContentPolicyFilterError, litellm.BadRequestError, litellm.UnprocessableEntityError)


def bound_retries(seconds: float) -> None:
    """Make cognee repeat a failing call for `seconds` at most beyond two tries, and a refused text not at all.

    cognee's own policy repeats everything but a refused key for at least 240 s, a content-policy refusal too.
    tenacity offers `.retry` of a decorated function for changing its policy at run time.
    """
    policy = NativeLiteLLMAdapter.acreate_structured_output.retry
    policy.stop = stop_after_attempt(LLM_MIN_RETRY_ATTEMPTS) & stop_after_delay(seconds)
    policy.retry = retry_if_exception(lambda error: should_retry_llm_exception(error) and not isinstance(error, _REFUSED))


def classify(error: BaseException) -> SessionMemoryError:
    """The error of ours that says what `error` means for the document and for the run; carries no text of it."""
    chain = list(_chain(error))
    kind = type(chain[-1]).__name__
    for link in chain:
        if isinstance(link, SessionMemoryError):
            return link
        if isinstance(link, _QUOTA_SPENT) or (isinstance(link, Exception) and is_quota_or_billing_error(link)):
            return LLMQuotaSpent()
        if isinstance(link, _KEY_REFUSED):
            return LLMRefusedKey()
        if isinstance(link, _REFUSED):
            return DocumentRefused(kind=type(link).__name__)
        if type(link).__module__.startswith(("litellm", "openai", "pydantic", "tenacity", "cognee.infrastructure.llm")):
            return LLMUnavailable(kind=type(link).__name__)
        if type(link).__name__ == "EmbeddingException":
            return LLMUnavailable(kind="EmbeddingException")
    return WriteFailed(kind=kind)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        step = step.__cause__ or step.__context__


class _Counter(CustomLogger):  # type: ignore[misc]
    # litellm runs these in the context of the call, so concurrent runs keep their own counts.

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        usage = llm_usage.current()
        if usage is None or kwargs.get("call_type") != "acompletion":
            return
        usage.calls += 1
        tokens = getattr(response_obj, "usage", None)
        usage.tokens_in += getattr(tokens, "prompt_tokens", 0) or 0
        usage.tokens_out += getattr(tokens, "completion_tokens", 0) or 0

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        usage = llm_usage.current()
        if usage is not None and kwargs.get("call_type") == "acompletion":
            usage.calls += 1
            usage.failed_calls += 1


def count_calls() -> None:
    """Have litellm report every call; calling it again changes nothing."""
    if not any(isinstance(callback, _Counter) for callback in litellm.callbacks):
        litellm.callbacks.append(_Counter())
