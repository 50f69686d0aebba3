"""The events that tell what happened, with ids and counts. Their names and payloads are what automations rely on."""

import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter

from session_memory.backlog import LeftSession
from session_memory.models import Outcome
from session_memory.report import PersistReport

SESSION_PERSISTED = "session-memory.session.persisted"
SESSION_QUARANTINED = "session-memory.session.quarantined"
TURNS_EXPIRING = "session-memory.turns.expiring"
RUN_FINISHED = "session-memory.run.finished"

#: Sessions that a payload names at most; the counts are of all.
_NAMED = 20

#: Events that are looked at for machines, and so many a request, which is as many as Prefect gives.
_LATELY = 200
_PAGE = 50


def of_sessions(report: PersistReport) -> None:
    """An event for each session of which this run put turns into the dataset, or set turns apart."""
    for session in report.sessions:
        happened = {SESSION_PERSISTED: session.turns_persisted > 0, SESSION_QUARANTINED: session.newly_quarantined}
        for event in (name for name, did in happened.items() if did):
            emit_event(
                event,
                resource={
                    "prefect.resource.id": f"session-memory.session.{report.user_id}.{session.session_id}",
                    "prefect.resource.name": session.session_id,
                },
                related=_run(report.flow_run_id),
                payload={
                    "user_id": str(report.user_id),
                    "session_id": session.session_id,
                    "dataset": report.dataset,
                    "dataset_id": str(report.dataset_id),
                    "turns_persisted": session.turns_persisted,
                    "turns_pending": session.turns_pending,
                    "turns_quarantined": session.turns_quarantined,
                    "nodes": session.nodes,
                    "edges": session.edges,
                    "all_persisted": session.outcome is Outcome.PERSISTED,
                },
            )


def run_finished(flow_run_id: str | None, counts: dict[str, Any]) -> None:
    """A run has published its report, on this machine."""
    emit_event(
        RUN_FINISHED,
        resource={"prefect.resource.id": f"session-memory.run.{flow_run_id}"},
        related=_run(flow_run_id),
        payload={**counts, "host": socket.gethostname()},
    )


async def hosts_lately(client: PrefectClient) -> set[str]:
    """The machines of the last runs that published a report: some two hundred runs, at most of a week."""
    filter_ = EventFilter(
        occurred=EventOccurredFilter.model_validate({"since": datetime.now(UTC) - timedelta(days=7)}),
        event=EventNameFilter(name=[RUN_FINISHED]),
    )
    page = await client.read_events(filter_, limit=_PAGE)
    found = list(page.events)
    while page.next_page and len(found) < _LATELY:
        page = await client.read_events_page(str(page.next_page))
        found += page.events
    return {str(event.payload["host"]) for event in found if "host" in event.payload}


def turns_expiring(flow_run_id: str | None, sessions: Sequence[LeftSession]) -> None:
    """Turns will expire soon that are in no dataset, and this run left them."""
    first = min(one.expires_at for one in sessions if one.expires_at is not None)
    emit_event(
        TURNS_EXPIRING,
        resource={"prefect.resource.id": "session-memory.turns"},
        related=_run(flow_run_id),
        payload={
            "sessions": len(sessions),
            "turns": sum(one.turns or 0 for one in sessions),
            "next_expiry_at": first.isoformat(),
            "first": [
                {"user": one.user, "session_id": one.session_id, "reason": one.reason.value}
                for one in sorted(sessions, key=lambda one: str(one.expires_at))[:_NAMED]
            ],
        },
    )


def _run(flow_run_id: str | None) -> list[dict[str, str]]:
    if flow_run_id is None:
        return []
    return [{"prefect.resource.id": f"prefect.flow-run.{flow_run_id}", "prefect.resource.role": "flow-run"}]
