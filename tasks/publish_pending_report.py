"""The task that puts the report of a run over everything pending where people look, and raises the alert."""

from prefect import get_run_logger, task
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE

from session_memory.pending_report import PendingReport
from session_memory.settings import get_settings
from tasks import events

ARTIFACT_KEY = "session-memory-pending"


@task(task_run_name="publish report", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1)
async def publish_pending_report(report: PendingReport) -> None:
    """Write the report as an artifact, tell the events, and alert when turns will be lost soon."""
    await acreate_markdown_artifact(
        report.to_markdown(), key=ARTIFACT_KEY, description="What the last run over everything pending did and left"
    )
    events.run_finished(
        report.flow_run_id,
        {
            "sessions": report.sessions,
            "turns_persisted": report.turns_persisted,
            "left": report.left_counts,
            "failures": report.failures,
            "oldest_pending_at": report.oldest_pending_at and report.oldest_pending_at.isoformat(),
            "next_expiry_at": report.next_expiry_at and report.next_expiry_at.isoformat(),
            "seconds": report.seconds,
        },
    )
    get_run_logger().info(report.summary())
    expiring = report.expiring(get_settings().alert_hours)
    if expiring:
        events.turns_expiring(report.flow_run_id, expiring)
        get_run_logger().warning(
            "Sessions with turns that are in no dataset and expire from the cache within %g hours: %d. The artifact %s "
            "says why each was left.",
            get_settings().alert_hours,
            len(expiring),
            ARTIFACT_KEY,
        )
