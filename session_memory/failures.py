"""What an error of cognee, the LLM or a store means for a document and for the run."""

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager

import litellm
from cognee.infrastructure.databases.exceptions import EmbeddingException
from cognee.infrastructure.llm.exceptions import (
    ContentPolicyFilterError,
    LLMPaymentRequiredError,
    LLMQuotaExceededError,
)
from cognee.infrastructure.llm.retry_config import is_quota_or_billing_error
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from session_memory.errors import (
    AnswerUnreadable,
    DiskFull,
    DocumentRefused,
    LLMQuotaSpent,
    LLMRefusedKey,
    LLMUnavailable,
    SessionMemoryError,
    StoreUnavailable,
    WriteFailed,
)

_KEY_REFUSED = (litellm.AuthenticationError, litellm.PermissionDeniedError, litellm.NotFoundError)
_QUOTA_SPENT = (LLMPaymentRequiredError, LLMQuotaExceededError, litellm.BudgetExceededError)
#: The same text gets the same answer, however often it is sent.
REFUSED = (ContentPolicyFilterError, litellm.BadRequestError, litellm.UnprocessableEntityError)
_LLM_PACKAGES = ("litellm", "openai", "tenacity", "cognee.infrastructure.llm")
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
#: A model that answered in another form than asked for, after cognee's own corrections of it.
UNREADABLE = (ValidationError, json.JSONDecodeError)


@contextmanager
def told_in_our_words() -> Iterator[None]:
    """Turn the relational database's errors into `StoreUnavailable`, which is worth another try."""
    try:
        yield
    except DBAPIError as error:
        raise classify(error) from None


def classify(error: BaseException) -> SessionMemoryError:
    """The error of ours that says what `error` means; it carries classes and no text of it."""
    chain = list(_chain(error))
    for link in chain:
        if (known := _classify_one(link)) is not None:
            return known
    return WriteFailed(kind=type(chain[-1]).__name__)


def _classify_one(error: BaseException) -> SessionMemoryError | None:
    kind = type(error).__name__
    if isinstance(error, SessionMemoryError):
        return error
    if isinstance(error, _QUOTA_SPENT) or (isinstance(error, Exception) and is_quota_or_billing_error(error)):
        return LLMQuotaSpent()
    if isinstance(error, _KEY_REFUSED):
        return LLMRefusedKey()
    if isinstance(error, REFUSED):
        return DocumentRefused(kind=kind)
    if isinstance(error, UNREADABLE):
        return AnswerUnreadable(kind=kind)
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return DiskFull()
    if isinstance(error, DBAPIError):
        return StoreUnavailable(kind=type(error.orig).__name__)
    if isinstance(error, EmbeddingException) or type(error).__module__.startswith(_LLM_PACKAGES):
        return LLMUnavailable(kind=kind)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, what caused that…"""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        yield step
        step = step.__cause__ or step.__context__
