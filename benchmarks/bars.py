"""Every bar with its verdict: `make bench`."""

import json
from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.bench import Bench, Measured, bench, median
from benchmarks.job import Job

Sides = dict[str, list[Measured]]

#: Documents in the dataset before, for the bars that need some.
_MANY = 1_500


@dataclass(frozen=True)
class Bar:
    """One ratio, and how far it may go."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> tuple[str, str, str, str]:
        bound = f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        if self.met:
            return self.name, f"{self.value:.2f}", bound, "met"
        by = self.limit / self.value if self.at_least else self.value / self.limit
        return self.name, f"{self.value:.2f}", bound, f"missed by {100 * (by - 1):.0f} %"


def measure(runs: Bench, repeat: int) -> dict[str, Sides]:
    """Every scenario; of each, its sides in turns."""
    scenarios: dict[str, tuple[tuple[str, ...], Job]] = {
        "quick": (("builtin", "flow", "functions"), Job(sessions=40)),
        "few": (("flow",), Job(sessions=10)),
        "slow": (("builtin", "flow"), Job(sessions=20, latency=2)),
        "empty": (("flow",), Job(sessions=20)),
        "again": (("flow",), Job(sessions=40, rounds=2)),
        # Last: it takes longest to prepare.
        "full": (("builtin", "flow"), Job(sessions=20, existing_documents=_MANY)),
    }
    return {name: runs.compare(sides, job, repeat) for name, (sides, job) in scenarios.items()}


def bars(found: dict[str, Sides]) -> list[Bar]:
    """The bars, from what was measured."""

    def ratio(scenario: str, key: str = "wall", over: str = "builtin", under: str = "flow") -> float:
        return median(found[scenario][over], key) / median(found[scenario][under], key)

    slow = median(found["slow"]["flow"])
    job = Job(latency=2)
    calls = median(found["slow"]["flow"], "llm_calls")
    floor = -(-calls // job.cap) * job.latency
    return [
        Bar("built-in / ours: 40 sessions x 5 turns, 0.2 s a call", ratio("quick"), 4, at_least=True),
        Bar("built-in / ours: 20 sessions, 2 s a call", ratio("slow"), 8, at_least=True),
        Bar(f"built-in / ours: 20 sessions into {_MANY:,} documents", ratio("full"), 15, at_least=True),
        Bar(
            "ours, wall a window: 40 sessions / 10",
            median(found["quick"]["flow"]) / 40 / (median(found["few"]["flow"]) / 10),
            1.1,
        ),
        Bar(
            f"ours, wall: {_MANY:,} documents before / none",
            median(found["full"]["flow"]) / median(found["empty"]["flow"]),
            1.2,
        ),
        Bar("with Prefect / without, 40 sessions", ratio("quick", over="flow", under="functions"), 1.15),
        Bar("LLM calls, ours / built-in", ratio("quick", "llm_calls", over="flow", under="builtin"), 1.0),
        Bar("LLM calls with nothing new", median(found["again"]["flow"], "again_llm_calls"), 0),
        Bar("seconds with nothing new, 40 sessions", median(found["again"]["flow"], "again_wall"), 1.0),
        Bar("ours, wall / LLM floor: 20 sessions, 2 s a call", slow / floor, 2),
    ]


def main(
    repeat: Annotated[int, typer.Option(help="Times each side runs, in turns.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Measure every bar; about an hour with 5 repeats on 2 cores. Ends with 1 when a bar is missed."""
    with bench() as runs:
        found = measure(runs, repeat)
    verdicts = bars(found)
    if as_json:
        rows = [{"bar": bar.name, "value": bar.value, "limit": bar.limit, "met": bar.met} for bar in verdicts]
        print(json.dumps({"repeat": repeat, "bars": rows, "measured": found}))
    else:
        table = Table("bar", "median", "limit", "verdict")
        for bar in verdicts:
            table.add_row(*bar.row())
        Console(width=120).print(table)
    raise typer.Exit(not all(bar.met for bar in verdicts))


if __name__ == "__main__":
    typer.run(main)
