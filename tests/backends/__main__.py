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
_FAULTS = ("tests/faults/test_kill.py", "tests/faults/test_races.py")
_POSTGRES = (*_JOB, *_FAULTS, "tests/backends/check_connections.py")
#: What differs from the embedded stores: the cache alone, or everything that is written.
_SUITES = {
    "redis": _JOB,
    "fs": _JOB,
    "postgres": _POSTGRES,
    "postgres-graph": _POSTGRES,
}


def main() -> int:
    """Run them one after another; 0 when all passed."""
    table = Table("stores", "passed", "failed", "seconds")
    passed = failed = 0
    for name, suite in {**_SUITES, "": ("tests/backends",)}.items():
        started = time.monotonic()
        told, code = _run(name, suite)
        counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", told)}
        bad = counts.get("failed", 0) + counts.get("error", 0) or int(code != 0)
        passed, failed = passed + counts.get("passed", 0), failed + bad
        table.add_row(
            name or "each by itself", str(counts.get("passed", 0)), str(bad), f"{time.monotonic() - started:.0f}"
        )
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
