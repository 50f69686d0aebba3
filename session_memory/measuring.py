"""Sets the gauges: from the sessions that are pending, and from the ledger what is set apart."""

from collections.abc import Iterable

from session_memory import ledger_index, levels, metrics
from session_memory.backlog import LeftSession, PendingSession
from session_memory.failures import told_in_our_words
from session_memory.settings import Settings


async def measure(
    sessions: Iterable[PendingSession | LeftSession], datasets: list[str] | None, settings: Settings
) -> None:
    """Tell of every dataset what is pending and what is quarantined.

    Args:
        sessions: every session of the datasets, of all users, with turns that are in no dataset yet.
        datasets: names or UUIDs, where only some were looked at; None for all.

    Raises:
        StoreUnavailable: the ledger could not be read.
    """
    with told_in_our_words():
        names = {
            dataset_id: name
            for dataset_id, name in (await ledger_index.names()).items()
            if datasets is None or not {str(dataset_id), name}.isdisjoint(datasets)
        }
        quarantined = await ledger_index.quarantined_turns(list(names))
    metrics.set_levels(levels.of_datasets(sessions, names, quarantined, at_most=settings.metric_datasets))
