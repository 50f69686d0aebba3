"""A process that has loaded everything once and forks a child for every job, which can be killed.

Loading cognee takes ten seconds of CPU; a fork takes none. A job is a line of JSON on standard input: `id`, `call`
(`module:function`), `argv`, `env`, `output` (a folder for its standard output and error). An ended job is a line of
JSON on standard output: `id`, `returncode`.
"""

import importlib
import json
import os
import select
import sys
import traceback
from pathlib import Path
from typing import Any

from tests import double
from tests.faults import persist_with_double  # noqa: F401 - loads cognee, Prefect and the flow

# What cognee imports when it is first used; here, once, instead of in every child. Not lancedb: it starts threads.
for late in ("alembic.command", "fastembed", "graphviz", "ladybug", "pandas", "prefect.flow_engine", "pyarrow"):
    importlib.import_module(late)


def main() -> None:
    running: dict[int, str] = {}
    buffer = b""
    open_input = True
    while open_input or running:
        readable, _, _ = select.select([0] if open_input else [], [], [], 0.05)
        if readable:
            # Not `sys.stdin`: a line left in its buffer is one that `select` does not see.
            read = os.read(0, 65536)
            open_input = bool(read)
            *lines, buffer = (buffer + read).split(b"\n")
            for job in map(json.loads, lines):
                running[_fork(job)] = job["id"]
        for pid, job_id in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[pid]
                print(json.dumps({"id": job_id, "returncode": os.waitstatus_to_exitcode(status)}), flush=True)


def _fork(job: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _become(job)
        module, function = job["call"].split(":")
        getattr(importlib.import_module(module), function)()
        code = 0
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _become(job: dict[str, Any]) -> None:
    from prefect.context import refresh_global_settings_context

    from session_memory.settings import get_settings

    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(Path(job["output"]) / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.update(job["env"])
    sys.argv = ["session-memory", *job["argv"]]
    get_settings.cache_clear()
    refresh_global_settings_context()
    double.install()


if __name__ == "__main__":
    main()
