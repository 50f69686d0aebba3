"""The task that puts a run's report where people look: artifacts on Prefect's page, events, the log."""

import re

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from session_memory.report import PersistReport
from tasks import events

#: Where a run's report is stored, for the run that waits for it: a failed run's result is its message alone.
REPORT_KEY = "session-memory-report-{flow_run.id}"


@task(
    task_run_name="publish report",
    persist_result=True,
    result_serializer="json",
    result_storage_key=REPORT_KEY,
    # The key would make it a cache: a run that is run again has another report.
    refresh_cache=True,
    retries=2,
    retry_delay_seconds=1,
)
async def publish_report(report: PersistReport) -> PersistReport:
    """Write the report as an artifact of its dataset, its sessions as a table, and tell the events."""
    key = artifact_key(report.dataset)
    await acreate_markdown_artifact(
        report.to_markdown(), key=key, description=f"What the last run did in {report.dataset}"
    )
    if report.sessions:
        await acreate_table_artifact(
            report.table(), key=f"{key}-sessions", description=f"The sessions of the last run in {report.dataset}"
        )
    events.of_sessions(report)
    events.run_finished(
        report.flow_run_id,
        {
            "dataset": report.dataset,
            "sessions": report.counts,
            "turns_persisted": report.turns_persisted,
            "llm_calls": report.llm_calls,
            "seconds": report.seconds,
        },
    )
    get_run_logger().info(report.summary())
    return report


def artifact_key(dataset: str) -> str:
    """The artifact's key for a dataset; Prefect takes lowercase letters, digits and dashes."""
    name = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    return f"session-memory-{name or 'dataset'}"
