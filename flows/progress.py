"""How far a run is: a bar on its page, and whoever watches it in this process."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol
from uuid import UUID

import httpx
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact


class Watcher(Protocol):
    """Who is told in the process that runs the flow: a terminal."""

    def bar(self, total: int, description: str) -> Callable[[int], None]:
        """Something begins that has `total` parts; returns what is called with how many more are done."""

    def line(self, text: str) -> None:
        """Something has ended."""


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of the runs within."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def tell(text: str) -> None:
    """A line for whoever watches."""
    if watcher := _watcher.get():
        watcher.line(text)


class Progress:
    """How much of what a run has to do is done. It is a service: a server that does not answer stops no run."""

    def __init__(self, total: int, description: str) -> None:
        self._total = total
        self._done = 0
        self._description = description
        self._artifact: UUID | None = None
        watcher = _watcher.get()
        self._watched = watcher.bar(total, description) if watcher and total else None

    def count(self, done: int = 1) -> None:
        """`done` more, for whoever watches; on the page with the next `show`."""
        self._done += done
        if self._watched:
            self._watched(done)

    async def show(self) -> None:
        """Bring the page up to date; the first call makes the bar, unless there is nothing to do."""
        if not self._total:
            return
        percent = round(100 * self._done / self._total, 1)
        with suppress(httpx.HTTPError):
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(percent, description=self._description)
            else:
                await aupdate_progress_artifact(self._artifact, percent)
