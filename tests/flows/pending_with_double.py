"""`persist_pending_sessions` with the LLM double, in a process of its own, as a worker's run is one.

Arguments: the dataset, and how many sessions at most. Its output ends with one JSON object.
"""

import asyncio
import json
import sys

from opentelemetry import metrics, trace

from session_memory.errors import SessionsNotPersisted
from session_memory.pending_report import PendingReport
from tests.faults import persist_with_double  # noqa: F401 - loads cognee, the double and a flow


async def persist() -> PendingReport:
    from flows.persist_pending_sessions import persist_pending_sessions

    try:
        return await persist_pending_sessions(datasets=[sys.argv[1]], max_sessions=int(sys.argv[2]))
    except SessionsNotPersisted as error:
        assert isinstance(error.report, PendingReport)
        return error.report


def main() -> None:
    report = asyncio.run(persist())
    providers = [type(one).__name__ for one in (trace.get_tracer_provider(), metrics.get_meter_provider())]
    print(json.dumps({"summary": report.summary(), "providers": providers}))


if __name__ == "__main__":
    main()
