"""A run as it happens, on a terminal: bars, and a line for each session as it ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text


class Live:
    """What a command shows while a flow runs in its process; nothing where there is no terminal."""

    def __init__(self, console: Console, doing: str) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._loading = self._progress.add_task(doing, total=None, counted="")
        #: Whether sessions had lines, so that the report need not repeat those that went well.
        self.told = False

    @contextmanager
    def shown(self) -> Iterator["Live"]:
        """Show it while the block runs."""
        with self._progress:
            yield self

    def bar(self, total: int, description: str) -> Callable[[int], None]:
        """A bar of `total` parts, gone when all are done."""
        self._progress.update(self._loading, visible=False)
        task = self._progress.add_task(description, total=total, counted=f"0/{total}")
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            self._progress.update(task, completed=done, counted=f"{done}/{total}", visible=done < total)

        return advance

    def line(self, text: str) -> None:
        """A line above the bars."""
        if not self._progress.disable:
            self.told = True
            self._progress.console.print(Text(text), soft_wrap=True)
