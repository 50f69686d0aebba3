"""Runs sides of a comparison, each in a fresh process on a fresh copy of the same state, and collects the figures."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import llm
from benchmarks.job import Job
from tests.deployments.prefect_server import PrefectServer

#: What our runtime sets where the environment does not, given to both.
TUNED = {
    "GRAPH_DATABASE_SUBPROCESS_ENABLED": "false",
    "VECTOR_DB_SUBPROCESS_ENABLED": "false",
    "COGNEE_SKIP_CONNECTION_TEST": "true",
    "LOG_LEVEL": "CRITICAL",
    "COGNEE_LOG_FILE": "false",
}
#: Left as the caller has them; whatever else is set on this machine reaches neither side.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SESSION_MEMORY_")

Measured = dict[str, Any]


class WrongResult(Exception):
    """A side did not store every turn once; its time counts for nothing."""


class Bench:
    """A folder for the states, and a Prefect server for the side that needs one."""

    def __init__(self, folder: Path, server: PrefectServer) -> None:
        self._folder = folder
        self._server = server
        self._prepared: set[str] = set()

    def run(self, side: str, job: Job, extra: dict[str, str] | None = None) -> Measured:
        """One side, once.

        Raises:
            WrongResult: a turn is missing in the graph, or there twice.
            subprocess.CalledProcessError: the side failed.
        """
        template = self._prepare(job, "prepare" if side != "nightly" else "prepare-users")
        state = self._folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        # At the same path as it was prepared: rows name files.
        shutil.copytree(template, state)
        measured = self._process(side, job, extra or {})
        wrong = {turn: times for turn, times in measured.pop("turns", {}).items() if times != 1}
        if wrong or measured["llm_calls"] == 0:
            raise WrongResult(f"{side}: {len(wrong)} turns are not in the graph exactly once.")
        return measured

    def compare(
        self, sides: Sequence[str], job: Job, repeat: int, extra: dict[str, str] | None = None
    ) -> dict[str, list[Measured]]:
        """Sides in turns, `repeat` times each."""
        found: dict[str, list[Measured]] = {side: [] for side in sides}
        for number in range(repeat):
            for side in sides:
                measured = self.run(side, job, extra)
                found[side].append(measured)
                print(f"  {number + 1}/{repeat} {side}: {measured['wall']:.2f} s", file=sys.stderr)
        return found

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """What each side's process has."""
        state = self._folder / "state"
        kept = {key: value for key, value in os.environ.items() if key.startswith(_KEPT)}
        return (
            kept
            | llm.ENVIRONMENT
            | {
                "SYSTEM_ROOT_DIRECTORY": str(state / "system"),
                "DATA_ROOT_DIRECTORY": str(state / "data"),
                "CACHE_ROOT_DIRECTORY": str(state / "cache"),
                "COGNEE_LOGS_DIR": str(state / "logs"),
                "COGNEE_ENV_FILE": str(state / "no.env"),
                "TELEMETRY_DISABLED": "1",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "GLINER_AUTO_INSTALL": "false",
                "TIKTOKEN_CACHE_DIR": str(
                    Path(sys.prefix)
                    / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
                    / "litellm/litellm_core_utils/tokenizers"
                ),
                "SESSION_MEMORY_STATE_DIR": str(state),
                # `hash` of a text chooses the words of the sessions.
                "PYTHONHASHSEED": "0",
            }
            | self._server.environment
            | (extra or {})
        )

    def _prepare(self, job: Job, prepare: str) -> Path:
        """The state before a run: sessions in the cache, documents in the graph, written by our own functions."""
        key = f"{prepare}-{job.users}-{job.sessions}-{job.turns}-{job.existing_documents}"
        template = self._folder / f"template-{key}"
        if key not in self._prepared:
            state = self._folder / "state"
            shutil.rmtree(state, ignore_errors=True)
            state.mkdir()
            (state / "no.env").touch()
            print(f"  preparing {job.sessions} sessions beside {job.existing_documents} documents", file=sys.stderr)
            self._process(prepare, job.model_copy(update={"latency": 0, "cap": 1000, "rounds": 1}), TUNED)
            state.rename(template)
            self._prepared.add(key)
        return template

    def _process(self, side: str, job: Job, extra: dict[str, str]) -> Measured:
        log = self._folder / f"{side}.log"
        with log.open("w") as errors:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.side", side, job.model_dump_json()],
                cwd=Path(__file__).parents[1],
                env=self.environment(extra),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        if done.returncode:
            raise WrongResult(f"{side} ended with {done.returncode}:\n" + log.read_text()[-3000:])
        measured: Measured = json.loads(done.stdout.splitlines()[-1])
        return measured


@contextmanager
def bench() -> Iterator[Bench]:
    """A bench, in a folder that goes with it."""
    # Ended from outside too, it leaves no server and no folder.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="session-memory-bench-") as folder:
        home = Path(folder) / "prefect"
        home.mkdir()
        with PrefectServer(home).serving() as server:
            yield Bench(Path(folder), server)


def median(measured: Sequence[Measured], key: str = "wall") -> float:
    """The median of a figure."""
    return statistics.median(one[key] for one in measured)
