"""Counts the LLM calls of a run."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Usage:
    """LLM calls made within a `counting()` block, and tokens where the provider says."""

    calls: int = 0
    failed_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


_current: ContextVar[Usage | None] = ContextVar("session_memory_llm_usage", default=None)


@contextmanager
def counting() -> Iterator[Usage]:
    """Count the LLM calls of this block and of the asyncio tasks it starts."""
    usage = Usage()
    token = _current.set(usage)
    try:
        yield usage
    finally:
        _current.reset(token)


def current() -> Usage | None:
    """The usage being counted where this is called."""
    return _current.get()


async def settle() -> None:
    """Wait until every call made so far is counted: litellm reports them from a queue of its own."""
    worker = sys.modules.get("litellm.litellm_core_utils.logging_worker")
    if worker is None:
        return
    try:
        await asyncio.wait_for(worker.GLOBAL_LOGGING_WORKER.flush(), timeout=5)
    except TimeoutError:
        return
