"""What one process and one run may ask of an LLM: reached, and never passed."""

import asyncio
import time
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from session_memory import llm_limits, llm_usage
from session_memory.errors import BudgetSpent
from session_memory.llm_limits import Budget, Limits, PerMinute
from session_memory.settings import Settings


@asynccontextmanager
async def unpaced():
    yield


def limited(**settings):
    """cognee's pacing seam with the limits in it, and the limits."""
    limits = Limits(Settings(**settings))
    seam = SimpleNamespace(_governed_llm_dispatch=unpaced)
    limits.install(seam)  # type: ignore[arg-type]
    return seam, limits


async def test_calls_in_flight_reach_the_limit_and_never_pass_it():
    seam, _ = limited(llm_calls_in_flight=3)
    in_flight, peak = 0, 0

    async def call():
        nonlocal in_flight, peak
        async with seam._governed_llm_dispatch():
            in_flight += 1
            peak = max(peak, in_flight)
            await asyncio.sleep(0.01)
            in_flight -= 1

    await asyncio.gather(*(call() for _ in range(10)))
    assert peak == 3


async def test_a_call_that_fails_gives_its_place_back():
    seam, _ = limited(llm_calls_in_flight=1, llm_tokens_per_minute=10)
    for _ in range(3):
        with pytest.raises(ValueError, match="no answer"):
            async with asyncio.timeout(1), seam._governed_llm_dispatch():
                raise ValueError("no answer")


async def test_no_window_of_a_minute_holds_more_than_the_limit():
    per_minute = PerMinute(4, seconds=0.3)
    at = []
    started = time.monotonic()
    for _ in range(12):
        per_minute.end(await per_minute.take(lambda: 1.0))
        at.append(time.monotonic() - started)
    assert all(later - earlier >= 0.29 for earlier, later in zip(at, at[4:], strict=False))
    assert at[3] < 0.25, "the first four need not wait"
    assert at[-1] < 2


async def test_requests_of_a_minute_are_limited(monkeypatch):
    seam, _ = limited(llm_requests_per_minute=2)

    async def call():
        async with seam._governed_llm_dispatch():
            pass

    await asyncio.gather(call(), call())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await call()


async def test_tokens_of_a_minute_are_limited_by_what_the_dearest_call_used(monkeypatch):
    seam, limits = limited(llm_tokens_per_minute=100)
    running = []

    async def call(tokens: int, seconds: float = 0.0):
        async with seam._governed_llm_dispatch():
            running.append(tokens)
            await asyncio.sleep(seconds)
            # As litellm does, in the call's own context.
            limits.note_tokens(tokens)

    # Nobody knows what a call takes before the first has answered: it is alone.
    first = asyncio.create_task(call(30, 0.1))
    second = asyncio.create_task(call(30))
    await asyncio.sleep(0.05)
    assert running == [30]
    await asyncio.gather(first, second)
    await call(20)
    # 80 of 100 are spent, and a call may take 30.
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await call(1)


async def test_a_run_has_a_budget_of_windows():
    budget = Budget(Settings(windows_per_run=5))
    assert [await budget.take(3), await budget.take(3)] == [3, 2]
    with pytest.raises(BudgetSpent, match="budget of 5 documents"):
        await budget.take(1)


async def test_a_run_has_a_budget_of_tokens():
    budget = Budget(Settings(tokens_per_run=50))
    with llm_usage.counting() as usage:
        usage.tokens_in, usage.tokens_out = 30, 19
        assert await budget.take(20) == 20
        usage.tokens_out = 20
        with pytest.raises(BudgetSpent, match="budget of 50 tokens"):
            await budget.take(20)


async def test_without_a_limit_nothing_waits():
    assert await Budget(Settings()).take(20) == 20
    seam, limits = limited()
    assert limits._requests is limits._tokens is None
    async with asyncio.timeout(1), seam._governed_llm_dispatch():
        pass
    assert llm_limits._taken.get() is None
