"""What the tests of flows look at besides what a run returns."""

import logging

import pytest


@pytest.fixture
def all_logs():
    """Every record of every logger, formatted as the most talkative handler would."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    keep = Keep(level=logging.NOTSET)
    root = logging.getLogger()
    level = root.level
    loggers = [
        root,
        *(logging.getLogger(name) for name in ("prefect", "prefect.flow_runs", "prefect.task_runs")),
    ]
    # What stands there already prints every row that SQLite reads, for half a minute.
    others = {handler: handler.level for logger in loggers for handler in logger.handlers}
    for handler in others:
        handler.setLevel(max(handler.level, logging.INFO))
    for logger in loggers:
        logger.addHandler(keep)
    root.setLevel(logging.DEBUG)
    yield lines
    for handler, its in others.items():
        handler.setLevel(its)
    root.setLevel(level)
    for logger in loggers:
        logger.removeHandler(keep)
