"""Joins calls that write to the same place into one write, as a database's group commit does.

What a caller is promised stays the same: when its call returns, what it handed over is written.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(eq=False)
class _Call(Generic[Item]):
    items: list[Item]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    write: "asyncio.Task[None] | None" = None
    abandoned: bool = False


class Joined(Generic[Item]):
    """One write at a time; what arrives meanwhile is written together next.

    Args:
        write: writes items, all or an exception.
        limit: items a write takes, except that one call is never divided.
        pause_seconds: how long the first one waits for others that come at the same moment.
    """

    def __init__(
        self, write: Callable[[list[Item]], Awaitable[None]], *, limit: int, pause_seconds: float = 0.02
    ) -> None:
        self._write = write
        self._limit = limit
        self._pause = pause_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: list[_Call[Item]] = []
        self._running: list[_Call[Item]] = []

    async def __call__(self, items: list[Item]) -> None:
        """Write items, together with those of others.

        Cancelled, it returns only when nothing of it is being written any more: who rolls back may rely on that.
        """
        call = _Call(items)
        self._waiting.append(call)
        if not self._running and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._next)
        try:
            await asyncio.shield(call.done)
        except asyncio.CancelledError:
            call.abandoned = True
            if call in self._waiting:
                self._waiting.remove(call)
            elif call.write is not None:
                if all(other.abandoned for other in self._running):
                    call.write.cancel()
                await asyncio.wait([call.write])
            raise

    def _next(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        size = 0
        while self._waiting and (not self._running or size + len(self._waiting[0].items) <= self._limit):
            call = self._waiting.pop(0)
            size += len(call.items)
            self._running.append(call)
        write = asyncio.create_task(self._run(list(self._running)))
        for call in self._running:
            call.write = write

    async def _run(self, calls: list[_Call[Item]]) -> None:
        try:
            await self._together(calls)
        finally:
            for call in calls:
                if not call.done.done():
                    call.done.cancel()
            self._running.clear()
            self._next()

    async def _together(self, calls: list[_Call[Item]]) -> None:
        try:
            await self._write([item for call in calls for item in call.items])
        except Exception as error:  # noqa: BLE001 - handed to whom it belongs
            if len(calls) == 1:
                _end(calls[0], error)
                return
            # One of them is to blame, and the others are not to fail with it.
            for call in calls:
                await self._together([call])
        else:
            for call in calls:
                _end(call, None)


class Gate:
    """Lets those who arrive through together: once all are there, or nobody came for a while.

    Args:
        expected: how many will come, at most.
        quiet_seconds: how long the first of a crowd wait for others after the last one came.
    """

    def __init__(self, expected: int, *, quiet_seconds: float) -> None:
        self._expected = expected
        self._quiet = quiet_seconds
        self._opening = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def arrive(self) -> None:
        """Wait for the others."""
        self._expected -= 1
        opening = self._opening
        if self._timer is not None:
            self._timer.cancel()
        if self._expected > 0:
            self._timer = asyncio.get_running_loop().call_later(self._quiet, self._open)
        else:
            self._open()
        await opening.wait()

    def _open(self) -> None:
        self._opening.set()
        self._opening = asyncio.Event()


def _end(call: _Call[Any], error: Exception | None) -> None:
    if call.done.done():
        return
    if error is None:
        call.done.set_result(None)
    else:
        call.done.set_exception(error)
        # Read, so that nobody's error is not reported as unhandled.
        call.done.exception()
