"""Looks at Prefect's side: the server, the deployments, who works for them, the schedules, the automations."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from prefect import __version__
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import CronSchedule as ServerCronSchedule
from prefect.settings import get_current_settings

from deployments import automations, definitions
from session_memory.diagnosis import Diagnosis, Finding, ok, problem, warning
from session_memory.errors import AlertBlockNotFound
from session_memory.settings import get_settings
from tasks import events

Definitions = list[dict[str, Any]]

_NO_SERVER = "Set PREFECT_API_URL, or start everything here with `session-memory serve`."
_DEPLOY = "`prefect deploy --all`, or `session-memory serve`."


async def examine(user: str | None, dataset: str, *, ask_models: bool) -> Diagnosis:
    """Everything: Prefect's side, then cognee's."""
    findings, machines, longest_wait = await _examine_prefect()
    from session_memory import runtime

    await runtime.start()
    from session_memory import doctor
    from session_memory.failures import told_in_our_words

    with told_in_our_words():
        findings += await doctor.examine(
            user, dataset, hosts=machines, longest_wait=longest_wait, ask_models=ask_models
        )
    return Diagnosis(findings=tuple(findings))


async def _examine_prefect() -> tuple[list[Finding], set[str], timedelta | None]:
    """The findings, the machines that ran flows lately, and the longest wait between two scheduled runs."""
    url = get_current_settings().api.url
    if not url:
        none = warning("Prefect", "no server: each run starts one of its own, and its page goes with it", _NO_SERVER)
        return [none], set(), None
    async with get_client() as client:
        error = await client.api_healthcheck()
        if error is not None:
            return [problem("Prefect", f"the server does not answer ({type(error).__name__})", _NO_SERVER)], set(), None
        findings = [await _server_version(client)]
        wanted = definitions.load()
        found = await _deployments(client, wanted)
        findings.append(_missing(found, wanted))
        findings += _paused(found)
        for pool in sorted({one.work_pool_name for one in found if one.work_pool_name}):
            findings.append(await _workers(client, pool))
        findings.append(await _automations(client))
        machines = await events.hosts_lately(client)
    if len(machines) > 1:
        findings.append(_shared_results(len(machines)))
    waits = [wait for one in found if (wait := await _longest_wait(one)) is not None]
    return findings, machines, min(waits, default=None)


async def _server_version(client: PrefectClient) -> Finding:
    there = await client.api_version()
    if there.split(".")[:2] != __version__.split(".")[:2]:
        return warning("Prefect", f"the server is {there}, this is {__version__}", "Run the same version on both.")
    return ok("Prefect", f"server {there}")


async def _deployments(client: PrefectClient, wanted: Definitions) -> list[DeploymentResponse]:
    found = []
    for definition in wanted:
        flow = definition["entrypoint"].rpartition(".")[2].replace("_", "-")
        try:
            found.append(await client.read_deployment_by_name(f"{flow}/{definition['name']}"))
        except ObjectNotFound:
            continue
    return found


def _missing(found: Sequence[DeploymentResponse], wanted: Definitions) -> Finding:
    names = {definition["name"] for definition in wanted}
    if missing := names - {one.name for one in found}:
        return warning("deployments", f"{', '.join(sorted(missing))} not there", _DEPLOY)
    return ok("deployments", ", ".join(sorted(names)))


def _paused(found: Sequence[DeploymentResponse]) -> list[Finding]:
    return [
        warning(
            "schedule",
            f"{one.name} is paused: nothing runs by itself",
            f"`prefect deployment resume '{one.name}'`, or on its page.",
        )
        for one in found
        if one.paused or (one.schedules and not any(schedule.active for schedule in one.schedules))
    ]


async def _workers(client: PrefectClient, pool: str) -> Finding:
    workers = await client.read_workers_for_work_pool(pool)
    online = sum(one.status is WorkerStatus.ONLINE for one in workers)
    if not online:
        return problem("workers", f"none for the pool {pool}", f"`prefect worker start --pool {pool}` on a machine.")
    return ok("workers", f"{online} for the pool {pool}")


async def _automations(client: PrefectClient) -> Finding:
    try:
        missing = await automations.missing(client, get_settings())
    except AlertBlockNotFound as error:
        return problem("automations", error.code, str(error))
    if missing:
        return warning("automations", f"not there: {'; '.join(missing)}", "`session-memory automations`.")
    return ok("automations", "all there")


def _shared_results(machines: int) -> Finding:
    if get_current_settings().results.default_storage_block:
        return ok("results", "in a storage block that all machines reach")
    return warning(
        "results",
        f"in a folder of each of {machines} machines: a run taken up by another machine does its finished tasks again",
        "Set PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK to a block that all of them reach, or have them mount the folder.",
    )


async def _longest_wait(deployment: DeploymentResponse) -> timedelta | None:
    """Between two runs of its schedule; None where none is active, or where a run takes only a part."""
    if deployment.paused or deployment.parameters.get("expiring_within_hours"):
        return None
    waits = []
    for one in deployment.schedules:
        if one.active and isinstance(one.schedule, CronSchedule):
            dates = await ServerCronSchedule(**one.schedule.model_dump()).get_dates(50)
            waits.append(max(later - earlier for earlier, later in pairwise(dates)))
    return min(waits, default=None)
