"""Takes documents out of a dataset that do not hold what they should, so that the next run writes them again."""

from collections.abc import Iterable
from uuid import UUID

from cognee.context_global_variables import set_database_global_context_variables

from session_memory import dataset_hold, document, graph_writer, ledger, redaction, session_cache
from session_memory.document import CachedSession
from session_memory.holdings import HeldWindow
from session_memory.models import Target
from session_memory.redaction import Redact
from session_memory.settings import Settings, get_settings
from session_memory.verification import chunks_of, texts_of


async def reopen(target: Target, data_ids: Iterable[UUID], settings: Settings) -> list[HeldWindow]:
    """Make windows pending again, and remove their documents; returns those for which that was done.

    A window is left as it is when its turns' text is nowhere any more: neither in the ledger, nor in its document,
    the chunks of the graph or the cache.

    Raises:
        DatasetBusy, GraphHeld: another process had the dataset for longer than the settings allow to wait.
    """
    reopened = []
    hold = dataset_hold.hold(target, holder="verify --repair", wait_seconds=settings.lock_wait_seconds)
    async with hold:
        # Read under the lock: another run may have replaced some meanwhile.
        windows = await ledger.windows_by_id(target, data_ids)
        texts = await texts_anywhere(target, list(windows.values()))
        for data_id, text in texts.items():
            # In this order: what is pending while its document still stands is done, and what is removed is not lost.
            await ledger.reopen(target, {data_id: text})
            await graph_writer.remove(target, data_id)
            reopened.append(windows[data_id])
    return reopened


async def texts_anywhere(target: Target, windows: list[HeldWindow]) -> dict[UUID, str]:
    """The text of each window, from wherever it still stands as it was.

    That is the ledger, its document, the chunks, or the cache. The caller holds the dataset.
    """
    files = await texts_of(target, [window.data_id for window in windows])
    async with set_database_global_context_variables(target.dataset_id, target.dataset_owner_id):
        chunks = await chunks_of([window.data_id for window in windows])
    cached = await session_cache.read_all(target.user_id, list({window.session_id for window in windows}))
    # As it was frozen: masked as turns are now, or as they were said.
    hooks = list(dict.fromkeys([redaction.load(get_settings().redact), None]))
    found = {}
    for window in windows:
        session = cached[window.session_id]
        candidates = [
            window.text,
            files.get(window.data_id),
            "".join(chunk.text for chunk in chunks[window.data_id]),
            *(_rendered(window, session, redact) for redact in hooks if isinstance(session, CachedSession)),
        ]
        for text in candidates:
            if text and all(document.says(text, turn) for turn in window.turns):
                found[window.data_id] = text
                break
    return found


def _rendered(window: HeldWindow, session: CachedSession, redact: Redact | None) -> str | None:
    """The window's document made anew from the cache, which may hold other turns by now."""
    turns = {(turn.qa_id, turn.hash): turn for turn in session.turns}
    wanted = [turns.get((turn.qa_id, turn.hash)) for turn in window.turns]
    redacted = [turn.redacted(redact) for turn in wanted if turn]
    return document.render(window.session_id, redacted).text if len(redacted) == len(wanted) else None
