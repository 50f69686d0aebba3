"""The final state of a run that has a report: its message is the report's one line, which the list of runs shows."""

from typing import Any

from prefect import State
from prefect.states import Completed, Failed

from session_memory.errors import SessionsNotPersisted
from session_memory.pending_report import PendingReport
from session_memory.report import PersistReport


def final_state(report: PersistReport | PendingReport) -> State[Any]:
    """What a flow returns. Awaiting the flow gives the report, or raises SessionsNotPersisted that carries it."""
    try:
        report.raise_on_failure()
    except SessionsNotPersisted as error:
        # Returned, not raised: Prefect would put its own words before the message and a stack trace into the log.
        return Failed(message=report.summary(), data=error)
    return Completed(message=report.summary(), data=report)
