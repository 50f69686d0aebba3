"""Runs the flow in another process, where it can be killed."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests import double

ROOT = Path(__file__).parents[2]
SCRIPT = "tests.faults.persist_with_double"


@dataclass
class Ended:
    """How a process ended."""

    returncode: int
    output: str


def environment(**extra: str) -> dict[str, str]:
    """The environment of a process that works on the same state, with the same Prefect server."""
    from prefect.settings import get_current_settings

    return {**os.environ, "PREFECT_API_URL": str(get_current_settings().api.url), **extra}


async def start(world, *sessions: str, **extra: str) -> asyncio.subprocess.Process:
    """Start the flow in a process of its own."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        SCRIPT,
        str(world.dataset.id),
        *sessions,
        cwd=ROOT,
        env=environment(**extra),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def end(process: asyncio.subprocess.Process) -> Ended:
    """Wait for a process."""
    output, _ = await asyncio.wait_for(process.communicate(), timeout=120)
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(errors="replace"))


async def run(world, *sessions: str, **extra: str) -> Ended:
    """Run the flow in a process of its own, to its end."""
    return await end(await start(world, *sessions, **extra))


def calls_in(log: Path) -> int:
    """LLM calls that a process with `DOUBLE_LOG` made."""
    return len(log.read_text().splitlines()) if log.exists() else 0


LOG = double.LOG_VARIABLE
REFUSE = double.REFUSE_VARIABLE
LATENCY = double.LATENCY_VARIABLE
