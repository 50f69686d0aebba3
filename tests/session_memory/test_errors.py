"""Every error's message is its docstring, whole, and travels through pickle as it is."""

import inspect
import pickle
import re

import pytest
from prefect.serializers import JSONSerializer

from session_memory import errors
from session_memory.report import PersistReport

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.SessionMemoryError)
    and kind not in {errors.SessionMemoryError, errors.SessionsNotPersisted}
]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_to_do_and_survives_pickling(kind):
    details = {name: f"<{name}>" for name in re.findall(r"{(\w+)}", kind.__doc__)}
    error = kind(**details)
    assert all(value in str(error) for value in details.values())
    assert "{" not in str(error)
    assert len(str(error).split()) > 8
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (kind, str(error), kind.code)
    # As Prefect keeps the error of a failed run.
    serializer = JSONSerializer()
    kept = serializer.loads(serializer.dumps(error))
    assert (type(kept), str(kept)) == (kind, str(error))


def test_codes_are_unique():
    assert len({kind.code for kind in KINDS}) == len(KINDS)


def test_a_failed_run_carries_its_report_through_pickle():
    report = PersistReport(user="u", dataset="d")
    again = pickle.loads(pickle.dumps(errors.SessionsNotPersisted("1 failed", report)))
    assert (str(again), again.report) == ("1 failed", report)
