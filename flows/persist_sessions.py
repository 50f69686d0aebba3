"""The flow that puts named sessions of one user into one dataset."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from pydantic import Field, StringConstraints

from flows import background, picture, progress
from flows.final_state import final_state
from flows.progress import Progress
from session_memory import llm_usage, runtime, telemetry
from session_memory.errors import SessionMemoryError, WriteFailed
from session_memory.llm_limits import Budget
from session_memory.models import Extraction, Receipt, Window
from session_memory.report import PersistReport, plural
from session_memory.run_span import run_span
from session_memory.settings import Settings, get_settings
from tasks.cognify_session import cognify_session
from tasks.extract_user_sessions import extract_user_sessions
from tasks.publish_report import publish_report
from tasks.settle_sessions import settle_sessions

if TYPE_CHECKING:
    from session_memory.commits import Commits

# Before a run of it begins: Prefect's own span of the run is the first.
telemetry.set_up()

# At least one character that is no space; colons, spaces within and emoji are all real ids.
Name = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]

NO_SESSION_IDS = (
    "no session_ids given, nothing extracted. To persist everything that is pending, run persist-pending-sessions."
)
ADOPTED = "The ledger had lost {count} of this dataset's documents; they are known again by their own metadata."


# The report is kept: without it a final state that had to be sent twice has no result, and awaiting the run fails.
# Pickled, which is Prefect's default: of an exception its JSON keeps the message alone, and ours carries the report.
@flow(name="persist-sessions", persist_result=True)
async def persist_sessions(
    user: Name | None = None,
    session_ids: Annotated[list[Name], Field(min_length=1)] | None = None,
    dataset: Name = "main_dataset",
    run_in_background: bool = False,
) -> PersistReport:
    """Put the questions and answers of cached sessions into the knowledge graph, each turn exactly once.

    Args:
        user: Whose sessions: an e-mail or a UUID, e.g. ada@example.com. Leave empty for cognee's default user.
        session_ids: The sessions to persist, as the agent named them, e.g. chat-1. None extracts nothing.
        dataset: Where to: the name of one of the user's datasets, or the UUID of any the user may write to.
        run_in_background: Hand the run to a worker and return at once. A run that is on a worker already ignores it.

    Returns:
        What became of each session, and the counts.

    Raises:
        SessionsNotPersisted: a session failed, was not found or was newly quarantined; carries the report.
        NeedsDeployment: there is no deployment to hand the run to.
        SessionMemoryError: nothing could be done at all; the message says what to do.
    """
    async with run_span("persist_sessions", flow_run.id) as span:
        if session_ids is None:
            report = PersistReport(user=user or "default user", dataset=dataset, note=NO_SESSION_IDS)
        elif run_in_background and not background.is_on_worker():
            report = await background.submit(user, list(dict.fromkeys(session_ids)), dataset)
        else:
            report = await _persist(user, list(dict.fromkeys(session_ids)), dataset)
        span.tell(report)
    return final_state(report)  # type: ignore[return-value]


async def _persist(user: str | None, session_ids: list[str], dataset: str) -> PersistReport:
    started = time.monotonic()
    engine = await runtime.start()
    # Only now: these load cognee, which reads its environment when it is imported.
    from session_memory.access import authorise
    from session_memory.commits import Commits
    from session_memory.failures import told_in_our_words

    settings = get_settings()
    if engine.is_local:
        get_run_logger().info("No LLM is configured: the packaged rules read the text.")
    with llm_usage.counting() as usage, told_in_our_words():
        target = await authorise(user, dataset, settings)
        extraction = await extract_user_sessions(target, session_ids)
        async with Commits(target, holder=f"flow run {flow_run.name}", settings=settings) as commits:
            receipts, errors = await _commit(commits, extraction, settings)
        sessions = await settle_sessions(target, extraction, receipts, errors, commits.stopped)
        drawn = await picture.draw(commits.additions, target, receipts, settings)
        await llm_usage.settle()
    report = PersistReport(
        flow_run_id=flow_run.id,
        run_url=background.url_of(flow_run.id),
        user=target.user_email,
        user_id=target.user_id,
        dataset=target.dataset_name,
        dataset_id=target.dataset_id,
        sessions=tuple(sessions),
        llm_calls=usage.calls,
        tokens_in=usage.tokens_in,
        tokens_out=usage.tokens_out,
        model=engine.model,
        local_model=engine.is_local,
        seconds=round(time.monotonic() - started, 3),
        picture=drawn,
        host=socket.gethostname(),
        note=ADOPTED.format(count=extraction.adopted_documents) if extraction.adopted_documents else None,
    )
    await publish_report(report)
    return report


async def _commit(
    commits: "Commits", extraction: Extraction, settings: Settings
) -> tuple[list[Receipt], dict[UUID, SessionMemoryError]]:
    """Commit everything extracted, group by group; what failed is in the second part, by window."""
    receipts: list[Receipt] = []
    errors: dict[UUID, SessionMemoryError] = {}
    bar = Progress(len(extraction.windows), f"Documents written, of {len(extraction.windows)}")
    lines = _Lines(extraction)
    await bar.show()

    async def cognify(window: Window) -> Receipt:
        try:
            receipt = await cognify_session(window, commits)
            lines.ended(window, None)
            return receipt
        except Exception as error:
            lines.ended(window, _as_error(error))
            raise
        finally:
            bar.count()

    try:
        await commits.remove([data_id for plan in extraction.sessions for data_id in plan.leftovers])
        async for group in _affordable(_groups(extraction.windows, settings.windows_per_group), Budget(settings)):
            await commits.begin(group)
            # Awaited, not submitted: cognee's engines are bound to this loop.
            results = await asyncio.gather(*map(cognify, group), return_exceptions=True)
            for window, result in zip(group, results, strict=True):
                if isinstance(result, Receipt):
                    receipts.append(result)
                else:
                    errors[window.data_id] = _as_error(result)
            await bar.show()
    except SessionMemoryError as error:
        commits.stopped = error
    return receipts, errors


class _Lines:
    """A line for each session, told when the last of its windows has ended."""

    def __init__(self, extraction: Extraction) -> None:
        self._sessions = [plan for plan in extraction.sessions if plan.windows]
        self._left = {plan.session_id: len(plan.windows) for plan in self._sessions}
        self._turns = {plan.session_id: sum(window.turns for window in plan.windows) for plan in self._sessions}
        self._errors: dict[str, SessionMemoryError] = {}
        self._told = 0

    def ended(self, window: Window, error: SessionMemoryError | None) -> None:
        session_id = window.session_id
        self._left[session_id] -= 1
        if error:
            self._errors[session_id] = error
        if not self._left[session_id]:
            self._told += 1
            failed = self._errors.get(session_id)
            turns = self._turns[session_id]
            what = failed.code.replace("_", " ") if failed else f"{turns} {plural('turn', turns)} persisted"
            progress.tell(f"{self._told} of {len(self._sessions)}  {session_id}: {what}")


def _groups(windows: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    """Windows in groups; one that was refused before is a group of its own."""
    fresh = [window for window in windows if not window.quarantined]
    yield from (fresh[start : start + size] for start in range(0, len(fresh), size))
    yield from ([window] for window in windows if window.quarantined)


async def _affordable(groups: Iterator[Sequence[Window]], budget: Budget) -> AsyncIterator[Sequence[Window]]:
    """The groups, or their parts, that the run's budget allows; BudgetSpent where it ends."""
    for group in groups:
        while group:
            allowed = await budget.take(len(group))
            yield group[:allowed]
            group = group[allowed:]


def _as_error(result: object) -> SessionMemoryError:
    if isinstance(result, SessionMemoryError):
        return result
    if isinstance(result, BaseException) and not isinstance(result, Exception):
        raise result
    return WriteFailed(kind=type(result).__name__)
