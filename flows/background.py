"""Hands a run to a worker: the same request makes one run, a request after a dead one makes a new one."""

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import DeploymentStatus, FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.utilities.urls import url_for

from session_memory.errors import NeedsDeployment
from session_memory.models import Outcome
from session_memory.report import PersistReport, SessionReport

DEPLOYMENT = "persist-sessions/on-demand"

#: Seconds within which a request that is made again is the same request.
_SAME_REQUEST = 60

_WAITS = (
    "No worker answers for the deployment {deployment}, so the run waits for one: "
    "`prefect worker start --pool session-memory`, or `session-memory serve`."
)
_AGAIN = "The same request was made {seconds} s ago: this is its run. What was said since then is the next run's."


def is_on_worker() -> bool:
    """Whether this flow run is one of a deployment, so that it is in the background already."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


def url_of(flow_run_id: object) -> str | None:
    """A run's page; None where no server stays to show it."""
    if not get_current_settings().api.url:
        return None
    return url_for("flow-run", obj_id=str(flow_run_id))


async def submit(user: str | None, session_ids: list[str], dataset: str) -> PersistReport:
    """Create a run of the deployment, without waiting for it.

    Returns:
        A report with the outcome `submitted` for every session, and the run's id and page. Its note says when no
        worker is there to take it.

    Raises:
        NeedsDeployment: the server does not know the deployment.
    """
    parameters = {"user": user, "session_ids": session_ids, "dataset": dataset, "run_in_background": False}
    async with get_client() as client:
        try:
            deployment = await client.read_deployment_by_name(DEPLOYMENT)
        except ObjectNotFound:
            raise NeedsDeployment(deployment=DEPLOYMENT, url=_server()) from None
        request = hashlib.sha256(json.dumps([str(deployment.id), parameters]).encode()).hexdigest()
        minute = int(time.time() // _SAME_REQUEST)
        before = await _made_before(client, f"{request}-{minute - 1}")
        run = before or await _create(client, deployment.id, parameters, f"{request}-{minute}")
    notes = []
    if (age := _age(run)) >= timedelta(seconds=1):
        notes.append(_AGAIN.format(seconds=round(age.total_seconds())))
    if deployment.status is not DeploymentStatus.READY:
        notes.append(_WAITS.format(deployment=DEPLOYMENT))
    return PersistReport(
        flow_run_id=str(run.id),
        run_url=url_of(run.id),
        user=user or "default user",
        dataset=dataset,
        sessions=tuple(SessionReport(session_id=one, outcome=Outcome.SUBMITTED) for one in session_ids),
        note=" ".join(notes) or None,
    )


async def _create(client: PrefectClient, deployment_id: UUID, parameters: dict[str, Any], key: str) -> FlowRun:
    """The run of a key. A key stands for its first run for ever, so what follows a dead one gets one of its own."""
    run = await client.create_flow_run_from_deployment(deployment_id, parameters=parameters, idempotency_key=key)
    return await _create(client, deployment_id, parameters, _key_after(run)) if _is_dead(run) else run


async def _made_before(client: PrefectClient, key: str) -> FlowRun | None:
    """The run that the same request made within the last minute, although that was in another minute by the clock."""
    only = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
    for run in await client.read_flow_runs(flow_run_filter=only, limit=1):
        if _is_dead(run):
            return await _made_before(client, _key_after(run))
        if _age(run) < timedelta(seconds=_SAME_REQUEST):
            return run
    return None


def _is_dead(run: FlowRun) -> bool:
    state = run.state
    return state is not None and (
        state.is_failed() or state.is_crashed() or state.is_cancelled() or state.is_cancelling()
    )


def _key_after(run: FlowRun) -> str:
    return f"after-{run.id}"


def _age(run: FlowRun) -> timedelta:
    return datetime.now(UTC) - run.created if run.created else timedelta()


def _server() -> str:
    url = get_current_settings().api.url
    return str(url) if url else "(none is set: PREFECT_API_URL)"
