"""What several tests of the flows look at."""

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
    for logger in loggers:
        logger.addHandler(keep)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(level)
    for logger in loggers:
        logger.removeHandler(keep)
