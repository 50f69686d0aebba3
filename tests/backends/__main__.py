"""`make test-backends`: the suite of the main job and the quick faults, over each of a team's stores."""

import os
import re
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.backends import stores

_JOB = ("tests/flows/test_persist_sessions.py", "tests/flows/test_exactly_once.py")


def _faults(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/faults/test_{name}.py" for name in names)


#: What differs from the embedded stores: the cache alone, or everything that is written. Of the fault matrix the quick
#: half, without what is about an embedded file.
_SUITES = {
    "redis": (*_JOB, *_faults("kill", "races"), "tests/backends/test_redis_away.py"),
    "fs": (*_JOB, *_faults("kill", "races")),
    "postgres": (*_JOB, *_faults("kill", "races", "recovery", "ledger_lost")),
    "postgres-graph": (
        *_JOB,
        "tests/flows/test_picture.py",
        "tests/session_memory/test_verification.py",
        "tests/session_memory/test_forgetting.py",
        *_faults("kill", "races", "recovery", "mid_run", "cancel", "llm"),
        "tests/backends/check_connections.py",
    ),
}


def main() -> int:
    """Run them one after another; 0 when all passed."""
    table = Table("stores", "passed", "failed", "seconds")
    passed = failed = 0
    for name, suite in _SUITES.items():
        started = time.monotonic()
        told, code = _run(name, suite)
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", told)}
        bad = counts.get("failed", 0) + counts.get("error", 0) or int(code != 0)
        passed, failed = passed + counts.get("passed", 0), failed + bad
        table.add_row(name, str(counts.get("passed", 0)), str(bad), f"{time.monotonic() - started:.0f}")
    Console(width=100).print(table)
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


def _run(name: str, suite: tuple[str, ...]) -> tuple[str, int]:
    """pytest's last line, and its exit code."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-n", "2", "-m", "not long", "-q", *suite],
        env={**os.environ, stores.VARIABLE: name},
        stdout=subprocess.PIPE,
        text=True,
    )
    last = ""
    assert process.stdout
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line.strip() or last
    return last, process.wait()


if __name__ == "__main__":
    sys.exit(main())
