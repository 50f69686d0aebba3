"""What a worker does before it loads a flow: the steps that `prefect.yaml` names under `pull`."""

import os
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.logging.loggers import flow_run_logger
from prefect.states import Failed

_UNKNOWN = "There is no parameter {unknown}. The flow takes {known}. Nothing was read and nothing was written."


def check_parameters() -> dict[str, str]:
    """End a run that was given a parameter its flow does not have, with a state that names it.

    Prefect's server checks the parameters it knows, and lets others through (its schema cannot be closed by
    `prefect deploy`); the engine would crash on them, with a stack trace.

    Raises:
        SystemExit: the run is Failed now, and not to be started.
    """
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(UUID(os.environ["PREFECT__FLOW_RUN_ID"]))
        if run.deployment_id is None:
            return {}
        schema = client.read_deployment(run.deployment_id).parameter_openapi_schema or {}
        # A server on Postgres keeps them in no order; `position` is the flow's.
        parameters: dict[str, dict[str, Any]] = schema.get("properties", {})
        known = sorted(parameters, key=lambda name: parameters[name].get("position", 0))
        unknown = sorted(set(run.parameters) - set(known))
        if not unknown:
            return {}
        message = _UNKNOWN.format(unknown=" nor ".join(unknown), known=", ".join(known))
        flow_run_logger(run).error(message)
        client.set_flow_run_state(run.id, Failed(message=message), force=True)
    # Not an error of this process: it would be printed with a stack trace.
    raise SystemExit(0)
