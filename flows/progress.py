"""A bar on the run's page while it works."""

from contextlib import suppress
from uuid import UUID

import httpx
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact


class Progress:
    """How much of what a run has to do is done. It is a service: a server that does not answer stops no run."""

    def __init__(self, total: int, description: str) -> None:
        self._total = total
        self._done = 0
        self._description = description
        self._artifact: UUID | None = None

    async def advance(self, done: int = 0) -> None:
        """Count `done` more; the first call makes the bar, unless there is nothing to do."""
        if not self._total:
            return
        self._done += done
        percent = round(100 * self._done / self._total, 1)
        with suppress(httpx.HTTPError):
            if self._artifact is None:
                self._artifact = await acreate_progress_artifact(percent, description=self._description)
            else:
                await aupdate_progress_artifact(self._artifact, percent)
