"""The deployments of `prefect.yaml`, for a process that serves them itself instead of handing them to a work pool."""

from pathlib import Path
from typing import Any

import yaml
from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Cron
from prefect.types.entrypoint import EntrypointType

_PROJECT = Path(__file__).parents[1] / "prefect.yaml"
#: The project's; where this is installed as a package, the working directory's.
FILE = _PROJECT if _PROJECT.is_file() else Path("prefect.yaml")


def load() -> list[dict[str, Any]]:
    """What `prefect.yaml` says of each deployment."""
    deployments: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["deployments"]
    return deployments


def environment(definition: dict[str, Any]) -> dict[str, str]:
    """What its runs find in their environment."""
    return dict(definition["work_pool"].get("job_variables", {}).get("env", {}))


async def served(definition: dict[str, Any]) -> RunnerDeployment:
    """The deployment, with everything but its work pool."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(definition["entrypoint"], use_placeholder_flow=False)
    limit = definition.get("concurrency_limit")
    return await flow.ato_deployment(
        name=definition["name"],
        description=definition["description"],
        tags=definition["tags"],
        parameters=definition.get("parameters"),
        schedules=[Cron(one["cron"], timezone=one["timezone"]) for one in definition.get("schedules", [])],
        triggers=[DeploymentEventTrigger.model_validate(one) for one in definition.get("triggers", [])],
        concurrency_limit=ConcurrencyLimitConfig.model_validate(limit) if limit else None,
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
