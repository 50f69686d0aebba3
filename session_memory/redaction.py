"""Redaction: what a turn's text passes through before it is frozen in the ledger; `mask` comes with it."""

import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from session_memory.errors import RedactionExtraMissing, RedactionFailed, RedactionNotFound


@dataclass(frozen=True)
class Redacted:
    """A text as it may be kept."""

    text: str
    #: How many things of each kind were masked in it, e.g. `{"email": 2}`; the kinds are told in reports.
    counts: Mapping[str, int] = field(default_factory=dict)


#: Takes a question or an answer, and returns it as it may be kept. Called in a thread, for each new or edited turn.
Redact = Callable[[str], Redacted]

#: A kind of what was masked: a word, so that no conversation reaches a report.
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")


def mask(text: str) -> Redacted:
    """Put `[key]`, `[card]`, `[email]` or `[phone]` in place of each that the text holds.

    Raises:
        ImportError: the extra `redact` is not installed.
    """
    from session_memory.detectors import cards, emails, keys, phones

    # Where they overlap, all of it is what comes first here.
    kinds = {"key": keys, "card": cards, "email": emails, "phone": phones}
    order = list(kinds)
    spans = sorted((start, end, order.index(kind)) for kind, find in kinds.items() for start, end in find(text))
    found: list[tuple[int, int, int]] = []
    for start, end, kind in spans:
        if found and start < found[-1][1]:
            before = found.pop()
            found.append((before[0], max(before[1], end), min(before[2], kind)))
        else:
            found.append((start, end, kind))
    parts, position = [], 0
    for start, end, kind in found:
        parts += [text[position:start], f"[{order[kind]}]"]
        position = end
    return Redacted("".join([*parts, text[position:]]), Counter(order[kind] for _, _, kind in found))


def load(path: str) -> Redact | None:
    """The function that SESSION_MEMORY_REDACT names, guarded; None when it names none.

    What it returns raises RedactionFailed, which carries none of the text, where the function raises or returns
    anything but a `Redacted`.

    Raises:
        RedactionNotFound: there is no such function.
        RedactionExtraMissing: it is the built-in one, without the packages that it needs.
    """
    if not path:
        return None
    try:
        function = pkgutil.resolve_name(path)
    except Exception as error:  # noqa: BLE001 - importing somebody's module may raise anything
        raise RedactionNotFound(hook=path, kind=type(error).__name__) from None
    if not callable(function):
        raise RedactionNotFound(hook=path, kind=f"a {type(function).__name__}")
    if function is mask:
        _require_extra()
    return _guarded(path, function)


def _require_extra() -> None:
    try:
        import session_memory.detectors  # noqa: F401
    except ImportError:
        raise RedactionExtraMissing from None


def _guarded(path: str, function: Callable[[str], object]) -> Redact:
    def redact(text: str) -> Redacted:
        try:
            redacted = function(text)
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote the conversation
            raise RedactionFailed(hook=path, kind=type(error).__name__) from None
        if not isinstance(redacted, Redacted):
            raise RedactionFailed(hook=path, kind=f"it returned a {type(redacted).__name__}")
        if not _is_sound(redacted):
            raise RedactionFailed(hook=path, kind="it returned a Redacted of something else than text and counts")
        return redacted

    return redact


def _is_sound(redacted: Redacted) -> bool:
    return (
        isinstance(redacted.text, str)
        and isinstance(redacted.counts, Mapping)
        and all(
            isinstance(kind, str) and _KIND.fullmatch(kind) and isinstance(count, int) and count >= 0
            for kind, count in redacted.counts.items()
        )
    )
