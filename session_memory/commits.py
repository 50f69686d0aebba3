"""The commits of one flow run: groups of windows, one after another, each window with one fate."""

import asyncio
from collections.abc import AsyncIterator, Callable, Container, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from session_memory import access, dataset_hold, fault_points, graph_writer, ledger, planning
from session_memory.errors import (
    AnswerUnreadable,
    DiskFull,
    DocumentRefused,
    LLMQuotaSpent,
    LLMRefusedKey,
    LLMRejectsEverything,
    LLMUnavailable,
    SessionMemoryError,
    WriteFailed,
    WriteTookTooLong,
)
from session_memory.failures import classify
from session_memory.holdings import HeldWindow
from session_memory.ledger_schema import State
from session_memory.models import Receipt, Target, Window
from session_memory.picture.additions import Additions
from session_memory.settings import Settings

#: With these no other window would fare better: the run stops, and everything else stays pending.
_STOPPING = (LLMRefusedKey, LLMQuotaSpent, LLMRejectsEverything, DiskFull)
#: With these the next window would wait as long again; two in a row, and the run stops.
_OUTAGE = (LLMUnavailable, WriteTookTooLong)

Fate = asyncio.Future[Receipt]


class Commits:
    """Commits windows in groups, owned by the flow; tasks only await what becomes of theirs.

    So a task that times out or is retried harms no other window, and leaving the block, by a cancelled flow
    too, ends the commit, awaits its rollback and frees the dataset.
    """

    def __init__(self, target: Target, *, holder: str, settings: Settings) -> None:
        self._target = target
        self._holder = holder
        self._settings = settings
        self._fates: dict[UUID, Fate] = {}
        self._commits: set[asyncio.Task[None]] = set()
        # Failed windows to try again together, while their commit still waits for the dataset.
        self._again: list[Window] | None = None
        # Windows lost to an outage since the last one that was stored.
        self._outage = 0
        # The dataset lock is the kernel's; within the run, whose turn it is needs no polling.
        self._turn = asyncio.Lock()
        #: Why nothing more is committed in this run.
        self.stopped: SessionMemoryError | None = None
        #: What was added to the graph, for the run's picture.
        self.additions = Additions()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for commit in self._commits:
                commit.cancel()
        await asyncio.gather(*self._commits, return_exceptions=True)

    async def begin(self, group: Sequence[Window]) -> None:
        """Start committing a group; returns once the dataset is ours and the LLM was asked about every document.

        What is begun then, a task for each window, takes its time while the answers are awaited, and not before.

        Raises:
            DatasetBusy: another writer did not let go in time.
            LLMRefusedKey, LLMQuotaSpent: met before in this run.
        """
        if self.stopped:
            raise self.stopped
        self._fates |= {window.data_id: _future() for window in group}
        await self._start(list(group))

    async def fate(self, window: Window) -> Receipt:
        """Wait for what becomes of a window: the receipt when it is in the dataset.

        Calling it again rejoins the same commit; after a failure it joins the next one, with all the windows
        that ask for it until it has the dataset.

        Raises:
            SessionMemoryError: why the window is not in the dataset.
        """
        fate = self._fates.get(window.data_id)
        if fate is None or (fate.done() and (fate.cancelled() or fate.exception())):
            if self.stopped:
                raise self.stopped
            self._try_again(window)
        # Shielded: a task that times out must not take the window's fate from those who wait for it later.
        return await asyncio.shield(self._fates[window.data_id])

    async def remove(self, data_ids: Sequence[UUID]) -> None:
        """Take replaced documents out of the dataset: what a run that died before it got there left over.

        Raises:
            DatasetBusy: another writer did not let go in time.
        """
        if not data_ids:
            return
        async with self._ours():
            for data_id in data_ids:
                await graph_writer.remove(self._target, data_id)

    def _try_again(self, window: Window) -> None:
        self._fates[window.data_id] = _future()
        if self._again is None:
            self._again = [window]
            self._start(self._again)
        else:
            self._again.append(window)

    def _start(self, group: list[Window]) -> asyncio.Future[Any]:
        started = _future()
        commit = asyncio.create_task(self._commit(group, started))
        self._commits.add(commit)
        commit.add_done_callback(self._commits.discard)
        return started

    async def _commit(self, group: list[Window], started: asyncio.Future[Any]) -> None:
        try:
            async with self._ours():
                if group is self._again:
                    self._again = None
                try:
                    decided = await self._write(group, asked=lambda: _begin(started))
                finally:
                    _begin(started)
            fault_points.reach("committed")
            # Only now: who has a receipt may rely on the dataset being free.
            for data_id, result in decided.items():
                if isinstance(result, Receipt):
                    self._fates[data_id].set_result(result)
                else:
                    self._fates[data_id].set_exception(result)
        except Exception as error:  # noqa: BLE001 - a store's own error; its text may hold anything
            told = classify(error)
            for future in self._futures(group, started):
                if not future.done():
                    future.set_exception(told)
        finally:
            if group is self._again:
                self._again = None
            for future in self._futures(group, started):
                future.cancel()

    def _futures(self, group: list[Window], started: asyncio.Future[Any]) -> list[asyncio.Future[Any]]:
        return [started, *(self._fates[window.data_id] for window in group)]

    @asynccontextmanager
    async def _ours(self) -> AsyncIterator[None]:
        """The dataset, ours alone: among the run's own commits, and among all processes."""
        hold = dataset_hold.hold(self._target, holder=self._holder, wait_seconds=self._settings.lock_wait_seconds)
        async with self._turn, hold:
            yield

    async def _write(
        self, group: Sequence[Window], asked: Callable[[], None]
    ) -> dict[UUID, Receipt | SessionMemoryError]:
        user = await access.recheck(self._target)
        # Read again under the lock: another run may have committed, replaced or forgotten some meanwhile.
        held = await ledger.windows_by_id(self._target, [window.data_id for window in group])
        members = {window.data_id: await self._now(held.get(window.data_id)) for window in group}
        todo = [window for windows in members.values() for window in windows if _to_write(window, members)]
        added: dict[UUID, tuple[int, int]] = {}
        failed: dict[UUID, SessionMemoryError] = {}
        while todo:
            written = await graph_writer.write(
                self._target, user, todo, asked=asked, timeout_seconds=self._settings.commit_timeout_seconds
            )
            await ledger.note_complete(self._target, list(written.complete))
            fault_points.reach("noted")
            added |= written.traces.counts()
            self._note_outage(written)
            if self._settings.pictures:
                # Now, while the graph is open and what the new documents replace is still in it.
                await self.additions.read(self._target, todo, written.complete, written.traces)
            todo = await self._after_failures(written.failed, todo, failed)
        await self._remove_replaced({part.session_id for parts in members.values() for part in parts if part.replaces})
        held = await ledger.windows_by_id(self._target, members)
        return {
            data_id: self._decide(data_id, await self._now(held.get(data_id)), added, failed) for data_id in members
        }

    def _note_outage(self, written: graph_writer.Written) -> None:
        outage = [error for error in written.failed.values() if isinstance(error, _OUTAGE)]
        self._outage = 0 if written.complete else self._outage + len(outage)
        if outage and self._outage > 1:
            self.stopped = outage[0]

    async def _after_failures(
        self,
        errors: dict[UUID, SessionMemoryError],
        tried: list[HeldWindow],
        failed: dict[UUID, SessionMemoryError],
    ) -> list[HeldWindow]:
        """Write failures down; returns the windows of one turn that refused ones of several were split into."""
        parts: list[HeldWindow] = []
        if len(tried) > 1 and all(_is_malformed(errors.get(window.data_id)) for window in tried):
            errors = dict.fromkeys(errors, LLMRejectsEverything())
        for window in tried:
            error = errors.get(window.data_id)
            if error is None:
                continue
            if isinstance(error, DocumentRefused) and len(window.turns) > 1 and window.text:
                parts += await self._split(window)
                continue
            failed[window.data_id] = error
            if isinstance(error, _STOPPING):
                self.stopped = error
                continue
            await ledger.note_failure(
                window.data_id, error_code=error.code, quarantine=isinstance(error, DocumentRefused)
            )
        return [] if self.stopped else parts

    async def _split(self, window: HeldWindow) -> list[HeldWindow]:
        changes = planning.split(self._target, window)
        with suppress(ledger.Conflict):
            # A conflict: a turn of it was edited meanwhile, and the run that met the edit holds them all now.
            await ledger.freeze(self._target, {window.session_id: changes})
        held = await ledger.windows_by_id(self._target, [part.data_id for part in changes.windows])
        return list(held.values())

    async def _now(self, held: HeldWindow | None) -> list[HeldWindow]:
        """The window, or those that hold its turns now."""
        if held is None:
            return []
        if held.state != State.SUPERSEDED or held.complete:
            return [held]
        return list((await ledger.successors(self._target, held.data_id)).values())

    async def _remove_replaced(self, session_ids: set[str]) -> None:
        for session_id in session_ids:
            held = await ledger.session_in(self._target, session_id)
            for data_id in planning.leftovers(held):
                await graph_writer.remove(self._target, data_id)

    def _decide(
        self,
        data_id: UUID,
        parts: list[HeldWindow],
        added: dict[UUID, tuple[int, int]],
        failed: dict[UUID, SessionMemoryError],
    ) -> Receipt | SessionMemoryError:
        """What became of a window, from what the dataset holds of it, or of those that hold its turns, now."""
        for part in parts:
            if part.data_id in failed:
                return failed[part.data_id]
            if part.state == State.QUARANTINED and not part.complete:
                return DocumentRefused(kind="earlier")
        if not parts or any(not part.complete and not part.forgotten for part in parts):
            return self.stopped or WriteFailed(kind="it is not in the dataset")
        counts = [added.get(part.data_id, (0, 0)) for part in parts]
        return Receipt(
            data_id=data_id,
            session_id=parts[0].session_id,
            turns=sum(len(part.turns) for part in parts),
            nodes=sum(nodes for nodes, _ in counts),
            edges=sum(edges for _, edges in counts),
        )


def _future() -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    # Read, so that one nobody waits for any more is not reported as an unhandled error.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


def _begin(started: asyncio.Future[Any]) -> None:
    if not started.done():
        started.set_result(None)


def _is_malformed(error: SessionMemoryError | None) -> bool:
    # A wrong model name is a bad request too; only a provider's own word for it names the text.
    return isinstance(error, DocumentRefused) and (
        error.details["kind"] == "BadRequestError" or isinstance(error, AnswerUnreadable)
    )


def _to_write(window: HeldWindow, asked_for: Container[UUID]) -> bool:
    # A quarantined one is tried only when it was itself asked for, not as a part of another.
    wanted = window.state == State.PLANNED or window.data_id in asked_for
    return wanted and not window.complete and not window.forgotten and (window.text is not None or window.written)
