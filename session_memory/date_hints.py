"""Spares cognee the search for dates in turns that name none.

cognee looks through every chunk for dates, so that "next week" is resolved for the LLM: 50 to 100 ms of a document of
five turns, on the event loop, nearly all of it spent on words that are no dates. Every turn of ours begins with its
time, which is the base for what the turn says; only turns with a word that cognee's own gate lets through are searched.
"""

import importlib
import re
from typing import Any

from cognee.modules.engine.utils.temporal_hints import _STATED_YEAR, _looks_like_date_reference, hint_lines

_TURN = re.compile(r"^(?=Time: \d)", re.MULTILINE)


def install() -> None:
    """Search chunks so from now on; calling it again changes nothing."""
    chunking: Any = importlib.import_module("cognee.tasks.documents.extract_chunks_from_documents")
    chunking.hint_lines = hints


def hints(text: str, base: Any) -> tuple[list[str], Any]:
    """As cognee's `hint_lines`: the hint lines of a chunk, and the date that the next chunk's are relative to."""
    lines: dict[str, None] = {}
    unread = ""
    for part in _TURN.split(text):
        time, _, said = part.partition("\n") if _TURN.match(part) else ("", "", part)
        if _looks_like_date_reference(said) or _STATED_YEAR.search(said):
            found, base = hint_lines(part, base)
            lines |= dict.fromkeys(found)
            unread = ""
        else:
            unread = time or unread
    if unread:
        _, base = hint_lines(unread, base)
    return list(lines), base
