"""The last run of each flow on Prefect's server."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import get_current_settings

from flows.background import url_of
from session_memory.status import LastRun

_FLOWS = ("persist-pending-sessions", "persist-sessions")


async def last_runs() -> tuple[LastRun, ...]:
    """Of each flow the run that started last; none where no server stays to remember them, or it does not answer."""
    if not get_current_settings().api.url:
        return ()
    found = []
    async with get_client() as client:
        if await client.api_healthcheck() is not None:
            return ()
        for flow in _FLOWS:
            runs = await client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])), sort=FlowRunSort.START_TIME_DESC, limit=1
            )
            found += [
                LastRun(
                    flow=flow,
                    name=run.name,
                    state=run.state_name or "",
                    started_at=run.start_time,
                    url=url_of(run.id),
                )
                for run in runs
            ]
    return tuple(found)
