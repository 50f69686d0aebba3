"""Which machines ran the flows: noted at each run, for `session-memory doctor` to see that there are several."""

import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterStartTime,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.runtime import flow_run

LABEL = "session-memory.host"
_LATELY = timedelta(days=7)


async def note() -> None:
    """Label this flow run with the name of its machine."""
    # Without the note the run is as good.
    with suppress(Exception):
        async with get_client() as client:
            await client.update_flow_run_labels(UUID(flow_run.id), {LABEL: socket.gethostname()})


async def lately(client: PrefectClient) -> set[str]:
    """The machines of the last runs, at most of a week."""
    since = datetime.now(UTC) - _LATELY
    runs = await client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["persist-sessions"])),
        flow_run_filter=FlowRunFilter(start_time=FlowRunFilterStartTime.model_validate({"after_": since})),
        sort=FlowRunSort.START_TIME_DESC,
        limit=200,
    )
    return {str(run.labels[LABEL]) for run in runs if LABEL in run.labels}
