"""After the last write: what the dataset really holds of each session, and telling cognee's own path."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from uuid import UUID

from session_memory import fault_points, ledger, planning, session_cache
from session_memory.errors import (
    BudgetSpent,
    CacheUnreachable,
    DatasetGone,
    LedgerUnreadable,
    SessionMemoryError,
    SessionUnreadable,
)
from session_memory.failures import told_in_our_words
from session_memory.holdings import HeldSession, HeldWindow
from session_memory.ledger_schema import State
from session_memory.models import Extraction, Outcome, Receipt, SessionPlan, Target
from session_memory.report import SessionReport
from session_memory.settings import Settings

#: Sessions settled together.
_PAGE = 200

_NOT_FOUND = (
    "Neither the cache nor the ledger knows it: check the id and the user; a session expires from the cache "
    "a week after its last turn."
)


async def settle(
    target: Target,
    extraction: Extraction,
    *,
    receipts: Sequence[Receipt],
    errors: dict[UUID, SessionMemoryError],
    stopped: SessionMemoryError | None,
    settings: Settings,
) -> list[SessionReport]:
    """Report every session from what the dataset holds now, whatever the receipts say.

    Args:
        receipts: of the windows committed in this run; only their counts of nodes and edges are used.
        errors: why a window was not committed.
        stopped: why the run did not get to the rest.
    """
    with told_in_our_words():
        own = await session_cache.datasets_of(target.user_id, [plan.session_id for plan in extraction.sessions])
        reports = []
        of_session: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in receipts:
            of_session[receipt.session_id].append(receipt)
        for start in range(0, len(extraction.sessions), _PAGE):
            page = extraction.sessions[start : start + _PAGE]
            held, gone = await _held(target, [plan.session_id for plan in page])
            stopped = gone or stopped
            reports += [
                _report(plan, held[plan.session_id], of_session[plan.session_id], errors, stopped) for plan in page
            ]
            for plan in page:
                # A session that cognee recorded no dataset for counts as this one's, as it would for cognee's own path.
                if plan.windows and own.get(plan.session_id, target.dataset_id) == target.dataset_id:
                    await _tell_cognee(target, plan.session_id, held[plan.session_id])
        await ledger.purge_texts(target, older_than_days=settings.text_retention_days)
    fault_points.reach("settled")
    return reports


async def _held(target: Target, session_ids: list[str]) -> tuple[dict[str, HeldSession], DatasetGone | None]:
    """What the ledger holds of sessions; nothing where it cannot be read (the plan says so) or the dataset is gone."""
    nothing = HeldSession(windows={}, turns={})
    try:
        found = await ledger.sessions_in(target, session_ids)
    except DatasetGone as gone:
        return dict.fromkeys(session_ids, nothing), gone
    return {key: nothing if isinstance(held, LedgerUnreadable) else held for key, held in found.items()}, None


async def _tell_cognee(target: Target, session_id: str, held: HeldSession) -> None:
    """Advance cognee's watermark over the longest run of turns, from the first, that are in the dataset.

    It is a hint to cognee's own path: a cache that does not answer now leaves it where it was.
    """
    with suppress(SessionUnreadable, CacheUnreachable):
        await _advance(target, session_id, held)


async def _advance(target: Target, session_id: str, held: HeldSession) -> None:
    cached = await session_cache.read(target.user_id, session_id)
    settled = 0
    for turn in cached.turns:
        if not planning.is_settled(held, turn.qa_id, turn.hash):
            break
        settled += 1
    await session_cache.advance_watermark(target.user_id, cached, settled)


def _report(
    plan: SessionPlan,
    held: HeldSession,
    receipts: Sequence[Receipt],
    errors: dict[UUID, SessionMemoryError],
    stopped: SessionMemoryError | None,
) -> SessionReport:
    parts = [part for window in plan.windows for part in _parts(held, window.data_id)]
    persisted = sum(len(part.turns) for part in parts if part.complete)
    refused = [part for part in parts if part.state == State.QUARANTINED and not part.complete]
    lost = [window for window in plan.windows if not _parts(held, window.data_id)]
    pending = sum(len(part.turns) for part in parts if part.pending) + sum(window.turns for window in lost)
    again = {window.data_id for window in plan.windows if window.quarantined}
    newly = any(part.data_id not in again for part in refused)
    error = next((errors[window.data_id] for window in plan.windows if window.data_id in errors), None)
    # A budget is no failure, and hides none.
    if pending and stopped and not (error and isinstance(stopped, BudgetSpent)):
        error = stopped
    left = pending if isinstance(error, BudgetSpent) else 0
    outcome = _outcome(plan, persisted=persisted, pending=pending - left, newly=newly, left=left)
    return SessionReport(
        session_id=plan.session_id,
        outcome=outcome,
        turns_cached=plan.cached_turns,
        turns_persisted=persisted,
        turns_pending=pending,
        turns_quarantined=plan.quarantined_turns + sum(len(part.turns) for part in refused),
        turns_foreign=plan.foreign_turns,
        masked=plan.masked,
        newly_quarantined=newly,
        nodes=sum(receipt.nodes for receipt in receipts),
        edges=sum(receipt.edges for receipt in receipts),
        error_code=plan.error_code or (error.code if error else None),
        error=plan.error or (str(error) if error else None) or (_NOT_FOUND if outcome is Outcome.NOT_FOUND else None),
    )


def _outcome(plan: SessionPlan, *, persisted: int, pending: int, newly: bool, left: int) -> Outcome:
    if plan.error or pending:
        return Outcome.FAILED
    if not plan.known:
        return Outcome.NOT_FOUND
    if newly:
        return Outcome.QUARANTINED
    if left:
        return Outcome.PENDING
    return Outcome.PERSISTED if persisted else Outcome.NOTHING_NEW


def _parts(held: HeldSession, data_id: UUID) -> Iterable[HeldWindow]:
    """The windows that hold a planned window's turns now: itself, or what it was split or edited into."""
    window = held.windows.get(data_id)
    if window is None:
        return []
    if window.state != State.SUPERSEDED or window.complete:
        return [window]
    return [
        part for other in held.windows.values() if other.replaces == data_id for part in _parts(held, other.data_id)
    ]
