"""Runs the flow, or the command, in another process, where it can be killed."""

import asyncio
import json
import os
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import double

ROOT = Path(__file__).parents[2]
FLOW = "tests.faults.persist_with_double:main"
COMMAND = "deployments.cli:main"

LOG = double.LOG_VARIABLE
REFUSE = double.REFUSE_VARIABLE
LATENCY = double.LATENCY_VARIABLE
KILL = double.KILL_VARIABLE


@dataclass
class Ended:
    """How a process ended."""

    returncode: int
    out: str
    err: str

    @property
    def output(self) -> str:
        return self.out + self.err


def environment(**extra: str) -> dict[str, str]:
    """The environment of a process that works on the same state, with the same Prefect server."""
    return {**os.environ, **_server(), **extra}


def _server() -> dict[str, str]:
    """Which Prefect server the test has now; not the one it had when the nursery was started."""
    from prefect.settings import get_current_settings

    return {"PREFECT_API_URL": str(get_current_settings().api.url)}


async def run(world, *sessions: str, **extra: str) -> Ended:
    """Run the flow in a process of its own, to its end."""
    return await _nursery.run(FLOW, [str(world.dataset.id), *sessions], extra)


async def command(*arguments: str, **extra: str) -> Ended:
    """Run the command `session-memory`, with the LLM double, in a process of its own."""
    return await _nursery.run(COMMAND, list(arguments), extra)


async def beside(what: str, *arguments: str) -> Ended:
    """Do something of `tests.faults.beside` in a process of its own, to its end."""
    return await _nursery.run(f"tests.faults.beside:{what}", list(arguments), {})


async def program(*arguments: str, **extra: str) -> Ended:
    """Run a Python program from the start."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, *arguments],
        cwd=ROOT,
        env=environment(**extra),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), timeout=120)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def calls_in(log: Path) -> int:
    """LLM calls that a process with `LOG` made."""
    return len(log.read_text().splitlines()) if log.exists() else 0


class _Nursery:
    """The process that forks the others; started when first needed, ended with the tests (its input closes)."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._jobs: dict[str, asyncio.Future[int]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def run(self, call: str, argv: list[str], env: dict[str, str]) -> Ended:
        process = await self._start()
        assert process.stdin is not None
        job_id = uuid.uuid4().hex
        self._jobs[job_id] = asyncio.get_running_loop().create_future()
        with tempfile.TemporaryDirectory() as output:
            job = {"id": job_id, "call": call, "argv": argv, "env": {**_server(), **env}, "output": output}
            process.stdin.write(f"{json.dumps(job)}\n".encode())
            returncode = await asyncio.wait_for(self._jobs[job_id], timeout=120)
            del self._jobs[job_id]
            out, err = (_read(Path(output) / name) for name in ("stdout", "stderr"))
        return Ended(returncode, out, err)

    async def _start(self) -> asyncio.subprocess.Process:
        async with self._starting:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    *[sys.executable, "-m", "tests.faults.nursery"],
                    cwd=ROOT,
                    # As the command itself sets before it imports Prefect, which a fork has imported already.
                    env=environment(PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="CRITICAL"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                self._reader = asyncio.create_task(self._read(self._process))
        return self._process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            ended: dict[str, Any] = json.loads(line)
            self._jobs[ended["id"]].set_result(ended["returncode"])


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


_nursery = _Nursery()
