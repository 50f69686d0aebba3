"""How the commands speak: answers on standard output, the rest on standard error, an exit code that says which."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn, Protocol, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from session_memory.errors import PrefectUnreachable, SessionMemoryError
from session_memory.report import PersistReport

T = TypeVar("T")

DONE, FAILED, USAGE, PARTLY = 0, 1, 2, 3

out = Console()
err = Console(stderr=True)

#: What a command that loads cognee says while it does.
LOADING = "(loading cognee takes about ten seconds)"


class Report(Protocol):
    """What every command's answer can do."""

    def asstr(self) -> str:
        """For people."""

    def model_dump_json(self) -> str:
        """For machines."""


class TableReport(Report, Protocol):
    """An answer that is a table on a terminal."""

    def columns(self) -> Sequence[str]:
        """Its heads."""

    def rows(self) -> list[Sequence[str]]:
        """Its rows, as long as the heads."""

    def summary(self) -> list[str]:
        """The lines that follow it."""


def answer(report: Report, *, as_json: bool, told: bool = False) -> None:
    """Print a report; of what was `told` on the terminal while it happened, only what went wrong again."""
    if as_json:
        print(report.model_dump_json())  # noqa: T201 - the answer, not a log
    else:
        text = report.asstr(told=True) if told and isinstance(report, PersistReport) else report.asstr()
        out.print(text, markup=False, highlight=False, soft_wrap=True)


def answer_table(report: TableReport, *, as_json: bool) -> None:
    """Print a report: a table on a terminal, its lines in a pipe."""
    if as_json or not out.is_terminal:
        answer(report, as_json=as_json)
        return
    rows = report.rows()
    columns = [(name, [row[at] for row in rows]) for at, name in enumerate(report.columns())]
    # What is the same in every row is said once: at 80 columns an e-mail in each would fold the ids.
    same = [(name, cells[0]) for name, cells in columns if len(rows) > 1 and _is_same(cells)]
    if rows:
        table = Table(box=None, pad_edge=False, header_style="bold")
        shown = [(name, cells) for name, cells in columns if any(cells) and (name, cells[0]) not in same]
        for name, cells in shown:
            numbers = all(not cell or cell.isdigit() for cell in cells)
            # Ids are folded, not cut: they are what the next command is given.
            table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
        for row in zip(*(cells for _, cells in shown), strict=True):
            table.add_row(*map(Text, row))
        out.print(table)
    for line in [*(f"{name}: {cell}" for name, cell in same), *report.summary()]:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _is_same(cells: Sequence[str]) -> bool:
    """Whether a column has one word, no number and no gap, in all rows."""
    return len(set(cells)) == 1 and bool(cells[0]) and not cells[0].isdigit()


def guarded(work: Callable[[], T], *, as_json: bool) -> T:
    """What `work` gives; an error that a user can do something about is printed, and ends the command."""
    from prefect.exceptions import ParameterTypeError
    from prefect.settings import PREFECT_API_URL

    try:
        return work()
    except SessionMemoryError as error:
        fail(error.code, str(error), FAILED, as_json=as_json)
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        unreachable = PrefectUnreachable(url=_masked(PREFECT_API_URL.value()))
        fail(unreachable.code, str(unreachable), FAILED, as_json=as_json)
    except ParameterTypeError as error:
        fail("usage", str(error), USAGE, as_json=as_json)


def waiting(doing: str, work: Callable[[Callable[[str], None]], Coroutine[Any, Any, T]], *, as_json: bool) -> T:
    """What `work` gives, or its error as `guarded`; meanwhile a line on the terminal, which `work` can change."""

    def run() -> T:
        with err.status(f"{doing}… {LOADING}") as status:
            return asyncio.run(work(status.update))

    return guarded(run, as_json=as_json)


def fail(code: str, message: str, exit_code: int, *, as_json: bool) -> NoReturn:
    """End the command with an error."""
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}))  # noqa: T201 - the answer
    else:
        err.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(exit_code)


def quiet() -> None:
    """Keep logs off the terminal: what a run did is in its report and on Prefect's page. Before Prefect is imported."""
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        # Else Python prints what no handler takes.
        logging.getLogger().addHandler(logging.NullHandler())
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    # Usage statistics: they would leave the machine, and fail loudly on a database that is busy.
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def _masked(url: str) -> str:
    """A URL without the password it may carry."""
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)
