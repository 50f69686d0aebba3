"""Joins writes that wait for the same store into one, as a database's group commit does.

cognee stores each document by itself: seven writes to the vector store and two checkpoints of the graph, all under
one lock. Documents that are ready while a write is under way wait for it anyway; together they cost one write more.
What a caller is promised stays the same: when its call returns, what it handed over is written.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Generic, TypeVar

from cognee.infrastructure.databases.graph.ladybug.adapter import LadybugAdapter
from cognee.infrastructure.databases.vector.lancedb.LanceDBAdapter import LanceDBAdapter

Item = TypeVar("Item")

#: Where an adapter keeps what joins its writes.
_JOINED = "_session_memory_joined"


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
    """

    def __init__(self, write: Callable[[list[Item]], Awaitable[None]], *, limit: int) -> None:
        self._write = write
        self._limit = limit
        self._waiting: list[_Call[Item]] = []
        self._running: list[_Call[Item]] = []

    async def __call__(self, items: list[Item]) -> None:
        """Write items, together with those of others.

        Cancelled, it returns only when nothing of it is being written any more: who rolls back may rely on that.
        """
        call = _Call(items)
        self._waiting.append(call)
        self._next()
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
        if self._running or not self._waiting:
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


def _end(call: _Call[Any], error: Exception | None) -> None:
    if call.done.done():
        return
    if error is None:
        call.done.set_result(None)
    else:
        call.done.set_exception(error)
        # Read, so that nobody's error is not reported as unhandled.
        call.done.exception()


def join_writes() -> None:
    """Join the writes of cognee's embedded stores; calling it again changes nothing."""
    if not hasattr(LanceDBAdapter.create_data_points, "__wrapped__"):
        LanceDBAdapter.create_data_points = _joined_upserts(LanceDBAdapter.create_data_points)
    if not hasattr(LadybugAdapter.checkpoint, "__wrapped__"):
        LadybugAdapter.checkpoint = _joined_checkpoints(LadybugAdapter.checkpoint)


def _joined_upserts(upsert: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    # The upsert itself unites rows of one id within a call as it does across calls.
    @wraps(upsert)
    async def create_data_points(self: Any, collection_name: str, data_points: list[Any]) -> None:
        collections: dict[str, Joined[Any]] = vars(self).setdefault(_JOINED, {})
        if collection_name not in collections:
            # As many as cognee sends to the embedding model at once.
            limit = self.embedding_engine.get_batch_size()
            collections[collection_name] = Joined(lambda points: upsert(self, collection_name, points), limit=limit)
        await collections[collection_name](data_points)

    return create_data_points


def _joined_checkpoints(checkpoint: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    # One that begins after a write has returned covers it.
    @wraps(checkpoint)
    async def joined(self: Any) -> None:
        writes: Joined[None] = vars(self).setdefault(_JOINED, Joined(lambda _: checkpoint(self), limit=1_000))
        await writes([None])

    return joined
