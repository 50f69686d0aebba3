"""A nightly run over few and over many sessions: `python -m benchmarks.nightly`. Its memory stays flat."""

from typing import Annotated

import typer

from benchmarks.bars import Bar
from benchmarks.bench import bench
from benchmarks.job import Job


def main(
    sessions: Annotated[int, typer.Option(help="Sessions of the large run; the small one has a tenth.")] = 2_000,
    users: Annotated[int, typer.Option(help="Owners of the large run's sessions.")] = 50,
) -> None:
    """Run `persist-pending-sessions` over both, each in a fresh process; a quarter of an hour on 2 cores."""
    small = Job(sessions=sessions // 10, users=max(1, users // 10), turns=1, latency=0, dataset="main_dataset")
    large = small.model_copy(update={"sessions": sessions, "users": users})
    with bench() as runs:
        few, many = (runs.run("nightly", job) for job in (small, large))
    for job, measured in ((small, few), (large, many)):
        print(
            f"{job.sessions} sessions of {job.users} users: {measured['wall']:.0f} s, "
            f"{measured['peak_memory_mb']:.0f} MB at most, {measured['llm_calls']} LLM calls"
        )
    bar = Bar("peak memory, many / few", many["peak_memory_mb"] / few["peak_memory_mb"], 1.3)
    print(": ".join((bar.row()[0], ", ".join(bar.row()[1:]))))
    raise typer.Exit(not bar.met)


if __name__ == "__main__":
    typer.run(main)
