"""Keeps conversation text out of logs that other libraries write.

cognee and litellm put document text, model output and pydantic's `input_value` into warnings and tracebacks.
Their records keep logger, level, place and the kind of error, and lose every word of the message.
"""

import logging
from pathlib import PurePath
from types import TracebackType

_TEXT_BEARING = {
    "cognee",
    "litellm",
    "instructor",
    "openai",
    "anthropic",
    "lancedb",
    "fastembed",
    "dlt",
    "sqlalchemy",
    "aiosqlite",
    "asyncpg",
}

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def install() -> None:
    """Make every log record of those libraries free of text, in all handlers; calling it again changes nothing."""
    make = logging.getLogRecordFactory()
    if getattr(make, "text_free", False):
        return

    def make_text_free(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make(*args, **kwargs)
        package = _package(record.pathname)
        if package in _TEXT_BEARING or isinstance(record.msg, dict):
            _strip(record, package)
        return record

    make_text_free.text_free = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(make_text_free)


def _package(path: str) -> str:
    """The top-level package a source file belongs to: what follows site-packages in its path."""
    parts = PurePath(path).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return ""


def _strip(record: logging.LogRecord, package: str) -> None:
    event = record.msg if isinstance(record.msg, dict) else {}
    exc_info = record.exc_info or event.get("exc_info")
    kinds = _kinds(exc_info) if isinstance(exc_info, tuple) else ""
    record.msg = f"{package or record.name}: {record.levelname} at {record.module}:{record.lineno}{kinds}"
    record.args = None
    record.exc_info = None
    record.exc_text = None
    record.stack_info = None


def _kinds(exc_info: ExcInfo | tuple[None, None, None]) -> str:
    """The classes of an exception and what caused it, e.g. ` (ValueError from KeyError)`."""
    names = []
    error: BaseException | None = exc_info[1]
    while error is not None:
        names.append(type(error).__name__)
        error = error.__cause__ or error.__context__
    return f" ({' from '.join(names)})" if names else ""
