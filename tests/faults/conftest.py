"""The fault matrix: a row for every test with the mark `fault`, printed as a table at the end."""

import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    # It imports cognee, whose environment must be set first.
    from tests.world import World

COLUMNS = ("fault", "point", "cache", "turns written", "lost", "twice", "verdict")


@pytest.fixture
def count(request: pytest.FixtureRequest):
    """Count what was said in worlds against what their datasets hold: `await count(world, ...)`."""
    stored: dict[Any, list[tuple[int, int]]] = {}

    async def count(*worlds: "World") -> None:
        for world in worlds:
            stored[world.dataset.id] = list((await world.stored()).values())
        turns = [times for of_world in stored.values() for times in of_world]
        counted = {
            "turns written": len(turns),
            "lost": sum(0 in times for times in turns),
            "twice": sum(max(times) > 1 for times in turns),
        }
        request.node.user_properties.append(("counted", counted))
        assert turns
        assert (counted["lost"], counted["twice"]) == (0, 0)

    yield count
    assert stored, "a row of the matrix that counted nothing"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    mark = item.get_closest_marker("fault")
    if mark is not None and report.when == "call":
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        row = {"fault": mark.args[0], "point": str(parameters.get("point", "")), "cache": parameters.get("cache", "")}
        report.user_properties.insert(0, ("row", row))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if any(name == "row" for name, _ in getattr(report, "user_properties", []))
    ]
    if not reports:
        return
    table = Table(*COLUMNS, title="The fault matrix")
    for report in sorted(reports, key=lambda report: [part.zfill(4) for part in re.split(r"(\d+)", report.nodeid)]):
        table.add_row(*_cells(report))
    cells = [_cells(report) for report in reports]
    written, lost, twice = (sum(int(row[at]) for row in cells if row[at].isdigit()) for at in (3, 4, 5))
    failed = sum(report.outcome == "failed" for report in reports)
    totals = f"{len(reports) - failed} passed, {failed} failed: {written} turns written, {lost} lost, {twice} twice"
    console = Console(width=120, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(table)
    terminalreporter.write_line(captured.get())
    terminalreporter.write_line(totals)


def _cells(report: Any) -> list[str]:
    properties: dict[str, Any] = {}
    for name, value in report.user_properties:
        properties |= value if name in {"row", "counted"} else {}
    properties["verdict"] = report.outcome
    return [str(properties.get(column, "not counted")) for column in COLUMNS]
