"""One comparison with cognee's own `persist_sessions_in_knowledge_graph_pipeline`: `python benchmarks/persist.py`."""

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

if not __package__:
    # Run as a file, whose own folder Python looks into, and not the one above.
    sys.path[0] = str(Path(__file__).parents[1])

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.bench import TUNED, Bench, Measured, bench, median
from benchmarks.job import Job

_FIGURES = {
    "wall": "wall, s",
    "cpu": "CPU, s",
    "peak_memory_mb": "peak memory, MB",
    "llm_calls": "LLM calls",
    "peak_llm_calls": "LLM calls in flight",
    "embedding_calls": "embedding calls",
    "sql_statements": "SQL statements",
}


def main(
    sessions: Annotated[int, typer.Option(help="Sessions to persist.")] = 40,
    turns: Annotated[int, typer.Option(help="Turns of each.")] = 5,
    latency: Annotated[float, typer.Option(help="Seconds an LLM call takes.")] = 0.2,
    existing_documents: Annotated[int, typer.Option(help="Documents in the dataset before.")] = 0,
    cap: Annotated[int, typer.Option(help="LLM calls in flight, for both.")] = 20,
    repeat: Annotated[int, typer.Option(help="Times each side runs, in turns.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Persist the same sessions with cognee's own pipeline and with ours, and compare."""
    job = Job(sessions=sessions, turns=turns, latency=latency, existing_documents=existing_documents, cap=cap)
    with bench() as runs:
        found = measure(runs, job, repeat)
    if as_json:
        print(json.dumps(found))
    else:
        _print(found)


def measure(runs: Bench, job: Job, repeat: int, *, tuned: bool = True) -> dict[str, Any]:
    """The comparison as JSON: upstream's defaults for the built-in, then our environment given to both."""
    rows = {"defaults": runs.compare(("builtin", "flow"), job, repeat)}
    if tuned:
        rows["tuned"] = runs.compare(("builtin", "flow"), job, repeat, TUNED)
    environment = {key: value for key, value in runs.environment().items() if key not in ("PATH", "HOME")}
    floor = math.ceil(median(rows["defaults"]["flow"], "llm_calls") / job.cap) * job.latency
    return {
        "job": job.model_dump(),
        "speedup": speedup(rows["defaults"]),
        "speedup_with_our_environment": speedup(rows["tuned"]) if tuned else None,
        "llm_floor": floor,
        "wall_over_floor": median(rows["defaults"]["flow"]) / floor if floor else None,
        "rows": rows,
        "environment": environment,
        "our_environment": TUNED,
    }


def speedup(sides: dict[str, list[Measured]]) -> float:
    """Median wall of the built-in over ours."""
    return median(sides["builtin"]) / median(sides["flow"])


def _print(found: dict[str, Any]) -> None:
    job = found["job"]
    title = "{sessions} sessions x {turns} turns, {latency} s a call, {existing_documents} documents before"
    table = Table("environment", "side", *_FIGURES.values(), title=title.format(**job))
    for name, sides in found["rows"].items():
        for side, measured in sides.items():
            table.add_row(name, side, *(f"{median(measured, figure):,.1f}" for figure in _FIGURES))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    tuned = found["speedup_with_our_environment"]
    console.print(f"Speed-up: {found['speedup']:.1f}; with our environment for both: {tuned:.1f}.")
    console.print(f"LLM floor: {found['llm_floor']:.1f} s; ours takes {found['wall_over_floor'] or 0:.1f} times that.")


if __name__ == "__main__":
    typer.run(main)
