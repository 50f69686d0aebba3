"""How many LLM calls this process makes at once and in a minute, and how much a run may spend."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType

from session_memory import llm_usage
from session_memory.errors import BudgetSpent
from session_memory.settings import Settings

_POLL_SECONDS = 0.05


@dataclass(eq=False)
class Share:
    """A part of what is allowed in a minute, until it is free again."""

    amount: float
    free_at: float = math.inf


class PerMinute:
    """No more than `limit` of something within any minute.

    A moving window, not a leaky bucket: that one lets nearly twice its rate through in the minute after a pause.
    """

    def __init__(self, limit: int, *, seconds: float = 60.0) -> None:
        self._limit = limit
        self._seconds = seconds
        self._shares: list[Share] = []
        self._turn = asyncio.Lock()

    async def take(self, amount: Callable[[], float]) -> Share:
        """Wait until there is room for `amount()`, and hold it until the share is `end`ed and a minute has passed.

        More than the limit itself waits for an empty minute.
        """
        async with self._turn:
            # Time frees a share, and no event.
            while self._held() + (wanted := min(amount(), self._limit)) > self._limit:  # noqa: ASYNC110
                await asyncio.sleep(min(_POLL_SECONDS, self._seconds / 10))
            share = Share(wanted)
            self._shares.append(share)
        return share

    def end(self, share: Share) -> None:
        """What was taken was spent now."""
        share.free_at = time.monotonic() + self._seconds

    def _held(self) -> float:
        now = time.monotonic()
        self._shares = [share for share in self._shares if share.free_at > now]
        return sum(share.amount for share in self._shares)


#: The tokens a call has taken; litellm reports what it really used in the call's own context.
_taken: ContextVar[Share | None] = ContextVar("session_memory_llm_tokens", default=None)


class Limits:
    """The limits of this process on LLM calls, whatever in cognee makes them."""

    def __init__(self, settings: Settings) -> None:
        self._room = asyncio.Semaphore(settings.llm_calls_in_flight)
        self._requests = PerMinute(settings.llm_requests_per_minute) if settings.llm_requests_per_minute else None
        self._tokens = PerMinute(settings.llm_tokens_per_minute) if settings.llm_tokens_per_minute else None
        # What the next call may need. Nobody knows before the first answer: until then one call has the whole minute.
        self._most_tokens = math.inf

    def install(self, rate_limiting: ModuleType) -> None:
        """Have cognee's pacing seam obey, through which all of its adapters send each try of a call."""
        paced = rate_limiting._governed_llm_dispatch

        @asynccontextmanager
        async def limited() -> AsyncIterator[None]:
            async with self._room:
                if self._requests is not None:
                    self._requests.end(await self._requests.take(lambda: 1))
                async with self._within_tokens(), paced():
                    yield

        rate_limiting._governed_llm_dispatch = limited  # type: ignore[attr-defined]

    def note_tokens(self, used: int) -> None:
        """What the call in whose context this runs has used."""
        share = _taken.get()
        if share is not None:
            share.amount = used
            self._most_tokens = used if self._most_tokens == math.inf else max(self._most_tokens, used)

    @asynccontextmanager
    async def _within_tokens(self) -> AsyncIterator[None]:
        if self._tokens is None:
            yield
            return
        share = await self._tokens.take(lambda: self._most_tokens)
        _taken.set(share)
        try:
            yield
        except BaseException:
            # A call that gave no answer; what it cost is not said.
            share.amount = 0
            raise
        finally:
            self._tokens.end(share)


class Budget:
    """What one run may spend: windows, and tokens where the provider says how many were used."""

    def __init__(self, settings: Settings) -> None:
        self._windows = settings.windows_per_run
        self._tokens = settings.tokens_per_run
        self._taken = 0

    async def take(self, windows: int) -> int:
        """How many of the next `windows` may be committed.

        Raises:
            BudgetSpent: none.
        """
        if self._tokens:
            await llm_usage.settle()
            usage = llm_usage.current()
            if usage is not None and usage.tokens_in + usage.tokens_out >= self._tokens:
                raise BudgetSpent(limit=self._tokens, unit="tokens")
        allowed = min(windows, self._windows - self._taken) if self._windows else windows
        if not allowed:
            raise BudgetSpent(limit=self._windows, unit="documents")
        self._taken += allowed
        return allowed
