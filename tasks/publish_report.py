"""The task that puts a run's report where people look: an artifact on Prefect's page, keyed by dataset."""

import re

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from session_memory.report import PersistReport


@task(task_run_name="publish report", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1)
async def publish_report(report: PersistReport) -> None:
    """Write the report as a markdown artifact and its counts to the log."""
    await acreate_markdown_artifact(
        report.to_markdown(), key=artifact_key(report.dataset), description=f"What the last run did in {report.dataset}"
    )
    get_run_logger().info(report.summary())


def artifact_key(dataset: str) -> str:
    """The artifact's key for a dataset; Prefect takes lowercase letters, digits and dashes."""
    name = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    return f"session-memory-{name or 'dataset'}"
