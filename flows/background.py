"""Hands a run to a worker: the same request makes one run, a request after a dead one makes a new one."""

import asyncio
import hashlib
import json
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from opentelemetry import propagate
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import DeploymentStatus, FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.context import FlowRunContext
from prefect.exceptions import MissingResult, ObjectNotFound
from prefect.results import get_result_store
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.telemetry.run_telemetry import LABELS_TRACEPARENT_KEY, TRACEPARENT_KEY
from prefect.types import KeyValueLabels
from prefect.utilities.urls import url_for

from session_memory.errors import NeedsDeployment, ReportElsewhere
from session_memory.models import Outcome
from session_memory.report import PersistReport, SessionReport
from tasks.publish_report import REPORT_KEY

DEPLOYMENT = "persist-sessions/on-demand"

#: Seconds within which a request that is made again is the same request.
_SAME_REQUEST = 60

_POLL_SECONDS = 2.0
#: The automation that runs a crashed run again takes about a second.
_TAKEN_UP_SECONDS = 20.0

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
    parameters = _parameters(user, session_ids, dataset)
    async with get_client() as client:
        deployment = await _deployment(client)
        request = _request(deployment, parameters)
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


async def on_worker(user: str, session_ids: list[str], dataset: str) -> PersistReport:
    """Have a worker of the pool persist, and wait for it. This flow run finds it again when it is run again.

    Raises:
        NeedsDeployment: the server does not know the deployment.
        ReportElsewhere: it ended on a machine whose results are not read here.
        SessionMemoryError: nothing could be done at all. What failed of the sessions is in the report.
    """
    parameters = _parameters(user, session_ids, dataset)
    async with get_client() as client:
        deployment = await _deployment(client)
        key = f"{flow_run.id}-{_request(deployment, parameters)}"
        run = await _create(client, deployment.id, parameters, key)
        state = await _ended(client, run.id)
    report = await _report_of(run.id)
    if report is None:
        with suppress(MissingResult):
            # Raises what it ended with, where that was an error.
            await state.aresult()
        raise ReportElsewhere(run=run.id)
    return report


def _parameters(user: str | None, session_ids: list[str], dataset: str) -> dict[str, Any]:
    return {"user": user, "session_ids": session_ids, "dataset": dataset, "run_in_background": False}


def _request(deployment: DeploymentResponse, parameters: dict[str, Any]) -> str:
    """What the same request has in common."""
    return hashlib.sha256(json.dumps([str(deployment.id), parameters]).encode()).hexdigest()


async def _report_of(flow_run_id: UUID) -> PersistReport | None:
    """The report a run has published; None where it has none, or another storage."""
    try:
        record = await get_result_store().aread(REPORT_KEY.format(flow_run=SimpleNamespace(id=flow_run_id)))
    except Exception:  # noqa: BLE001 - each storage has an error of its own for what is not there
        return None
    # Prefect gives a model that it stored as JSON back as a dict.
    return PersistReport.model_validate(record.result)


async def _ended(client: PrefectClient, flow_run_id: UUID) -> State[Any]:
    """The run's last state. A crashed one counts when the automation has not taken it up again."""
    crashed: float | None = None
    while True:
        state = (await client.read_flow_run(flow_run_id)).state
        if state is None or not state.is_final():
            crashed = None
        elif not state.is_crashed():
            return state
        elif crashed is None:
            crashed = time.monotonic()
        elif time.monotonic() - crashed > _TAKEN_UP_SECONDS:
            return state
        await asyncio.sleep(_POLL_SECONDS)


async def _deployment(client: PrefectClient) -> DeploymentResponse:
    try:
        return await client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        raise NeedsDeployment(deployment=DEPLOYMENT, url=_server()) from None


async def _create(client: PrefectClient, deployment_id: UUID, parameters: dict[str, Any], key: str) -> FlowRun:
    """The run of a key. A key stands for its first run for ever, so what follows a dead one gets one of its own."""
    run = await client.create_flow_run_from_deployment(
        deployment_id, parameters=parameters, idempotency_key=key, labels=_trace()
    )
    return await _create(client, deployment_id, parameters, _key_after(run)) if _is_dead(run) else run


def _trace() -> KeyValueLabels:
    """The label by which Prefect continues this run's trace in the one it makes; none where nobody traces."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {LABELS_TRACEPARENT_KEY: carrier[TRACEPARENT_KEY]} if TRACEPARENT_KEY in carrier else {}


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
