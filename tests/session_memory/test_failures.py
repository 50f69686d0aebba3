"""What an error means, wherever in its chain the telling one is."""

import errno
import json

import litellm
import pytest
from sqlalchemy.exc import OperationalError

from session_memory import errors
from session_memory.failures import classify, told_in_our_words
from tests import double

SECRET = "what was said"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (double.refused(), errors.DocumentRefused),
        (litellm.ContextWindowExceededError(SECRET, "m", "p"), errors.DocumentRefused),
        (double.key_refused(), errors.LLMRefusedKey),
        (litellm.NotFoundError(SECRET, "m", "p"), errors.LLMRefusedKey),
        (double.quota_spent(), errors.LLMQuotaSpent),
        (litellm.BudgetExceededError(1.0, 0.5), errors.LLMQuotaSpent),
        (double.broken(), errors.LLMUnavailable),
        (litellm.Timeout(SECRET, "m", "p"), errors.LLMUnavailable),
        (json.JSONDecodeError(SECRET, SECRET, 0), errors.AnswerUnreadable),
        (OperationalError("INSERT", {"text": SECRET}, OSError(SECRET)), errors.StoreUnavailable),
        (KeyError(SECRET), errors.WriteFailed),
        (ConnectionRefusedError(SECRET), errors.StoreUnavailable),
        (OSError(errno.ENOSPC, SECRET), errors.DiskFull),
        (errors.DatasetGone(dataset="d"), errors.DatasetGone),
    ],
)
def test_an_error_is_told_by_what_it_means_and_without_its_text(error, kind):
    wrapped = ValueError(SECRET)
    wrapped.__cause__ = error
    for one in (error, wrapped):
        told = classify(one)
        assert type(told) is kind
        assert SECRET not in str(told)


def test_only_what_may_pass_is_tried_again():
    assert classify(OSError(SECRET)).transient
    # cognee has repeated a broken provider's calls for its whole budget already.
    for error in (double.refused(), double.key_refused(), double.quota_spent(), double.broken()):
        assert not classify(error).transient


def test_a_defect_is_told_by_its_class_and_place_and_without_its_text():
    with pytest.raises(errors.Unexpected, match=r"KeyError at test_failures\.py:\d+") as told, told_in_our_words():
        raise KeyError(SECRET)
    assert SECRET not in str(told.value)
    assert told.value.__suppress_context__
