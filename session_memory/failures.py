"""What an error of cognee, the LLM or a store means for a document and for the run."""

import errno
import json
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

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
    Unexpected,
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
    """Turn whatever cognee, a driver or a defect raises into an error of ours.

    A message of theirs may quote a conversation, a key or a password, and Prefect keeps messages.
    """
    try:
        yield
    except SessionMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - any of them
        raise _known(error) or Unexpected(kind=type(error).__name__, place=_place(error)) from None


def classify(error: BaseException) -> SessionMemoryError:
    """The error of ours that says what `error` means; it carries classes and no text of it."""
    return _known(error) or WriteFailed(kind=type(list(_chain(error))[-1]).__name__)


def told_of(error: BaseException) -> str:
    """What kind of error it is and where it was raised, which quotes nothing."""
    return f"{type(error).__name__} at {_place(error)}"


def _known(error: BaseException) -> SessionMemoryError | None:
    return next((known for link in _chain(error) if (known := _classify_one(link)) is not None), None)


def _place(error: BaseException) -> str:
    """Where it was raised, e.g. `ledger.py:120`."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


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
    if isinstance(error, (ConnectionError, socket.gaierror)):
        return StoreUnavailable(kind=kind)
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
