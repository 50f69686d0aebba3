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


def _of(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"{file}::test_{test}" for test in tests)


#: What differs from the embedded stores: the cache alone, or everything that is written. Of the fault matrix the quick
#: half, without what is about an embedded file; of the commands what reads a graph and vectors, or removes from them.
_SUITES = {
    "redis": (*_JOB, *_faults("kill", "races"), "tests/backends/test_redis_away.py"),
    "fs": (*_JOB, *_faults("kill", "races")),
    "postgres": (*_JOB, *_faults("kill", "races", "recovery", "ledger_lost")),
    "postgres-graph": (
        *_JOB,
        *_of(
            "tests/flows/test_picture.py",
            "the_page_shows_the_sessions_their_turns_and_what_these_name",
            "a_later_runs_page_highlights_only_what_that_run_added",
        ),
        *_of(
            "tests/session_memory/test_verification.py",
            "what_is_there_is_proved_and_nothing_is_written",
            "damage_is_named_and_repaired_without_the_cache",
        ),
        *_of(
            "tests/session_memory/test_forgetting.py",
            "a_session_leaves_no_trace_and_others_stay",
            "one_turn_goes_and_the_others_of_its_document_stay",
        ),
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
