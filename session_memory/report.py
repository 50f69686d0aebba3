"""What a run did, session by session, for people, for machines and for Prefect's page."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import humanize
from pydantic import BaseModel, ConfigDict, computed_field

from session_memory.errors import SessionsNotPersisted
from session_memory.models import Outcome

_ORDER = [
    Outcome.FAILED,
    Outcome.QUARANTINED,
    Outcome.NOT_FOUND,
    Outcome.PENDING,
    Outcome.PERSISTED,
    Outcome.NOTHING_NEW,
    Outcome.SUBMITTED,
]
_WENT_WELL = {Outcome.PERSISTED, Outcome.NOTHING_NEW}
_WORDS = {
    Outcome.PERSISTED: "persisted",
    Outcome.NOTHING_NEW: "nothing new",
    Outcome.NOT_FOUND: "not found",
    Outcome.QUARANTINED: "quarantined",
    Outcome.FAILED: "failed",
    Outcome.PENDING: "pending",
    Outcome.SUBMITTED: "submitted",
}
#: What the built-in redaction masks, one of it and several.
_MASKED = {
    "email": ("e-mail address", "e-mail addresses"),
    "phone": ("phone number", "phone numbers"),
    "card": ("card number", "card numbers"),
    "key": ("key", "keys"),
}
#: Lines a terminal gets; `--json` has them all.
SHOWN = 200
#: In place of a time that never comes, to sort by.
NEVER = datetime.max.replace(tzinfo=UTC)
_ROWS = 1000


class SessionReport(BaseModel):
    """One session of a run."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    outcome: Outcome
    #: Turns in the cache when the run read it.
    turns_cached: int = 0
    #: Turns this run put into the graph.
    turns_persisted: int = 0
    #: Turns still to be put there.
    turns_pending: int = 0
    #: Turns the LLM refused, in this run or before.
    turns_quarantined: int = 0
    #: Turns that cognee's own path had put there.
    turns_foreign: int = 0
    #: How many things of each kind were masked in what this run froze. What a run masked that was killed before it
    #: reported is counted by none.
    masked: dict[str, int] = {}
    #: Whether a turn was refused in this run for the first time.
    newly_quarantined: bool = False
    nodes: int = 0
    edges: int = 0
    error_code: str | None = None
    error: str | None = None

    @property
    def needs_attention(self) -> bool:
        """Whether somebody should look: it makes the run fail."""
        return self.outcome in {Outcome.FAILED, Outcome.NOT_FOUND} or self.newly_quarantined


class PersistReport(BaseModel):
    """What a run of `persist-sessions` did. Its numbers are read from the dataset after the last write."""

    model_config = ConfigDict(frozen=True)

    flow_run_id: str | None = None
    #: Where that run is on Prefect's page; None without a server that stays.
    run_url: str | None = None
    user: str
    user_id: UUID | None = None
    dataset: str
    dataset_id: UUID | None = None
    sessions: tuple[SessionReport, ...] = ()
    llm_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    #: The model that answered, as litellm names it.
    model: str | None = None
    #: Whether that was the packaged rules, because no LLM is configured.
    local_model: bool = False
    seconds: float = 0.0
    #: The file that shows what the run added to the graph; None when it added nothing.
    picture: str | None = None
    #: The machine the run was on, where that file is.
    host: str | None = None
    #: What to know besides the sessions, e.g. that none were named.
    note: str | None = None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[str, int]:
        """Sessions by outcome, for those outcomes that occurred."""
        found = Counter(session.outcome for session in self.sessions)
        return {outcome.value: found[outcome] for outcome in _ORDER if found[outcome]}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def turns_persisted(self) -> int:
        """Turns this run put into the graph."""
        return sum(session.turns_persisted for session in self.sessions)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def masked(self) -> dict[str, int]:
        """How many things of each kind were masked in what this run froze."""
        return dict(sum((Counter(session.masked) for session in self.sessions), Counter[str]()))

    @property
    def nodes(self) -> int:
        """Nodes this run's documents added or touched, counted for each session."""
        return sum(session.nodes for session in self.sessions)

    @property
    def edges(self) -> int:
        """Edges this run's documents added or touched, counted for each session."""
        return sum(session.edges for session in self.sessions)

    @property
    def failed_sessions(self) -> list[SessionReport]:
        """The sessions somebody should look at."""
        return [session for session in self.sessions if session.needs_attention]

    @property
    def all_failed(self) -> bool:
        """Whether every session needs somebody to look at it."""
        return len(self.failed_sessions) == len(self.sessions)

    def summary(self) -> str:
        """One line of counts."""
        if not self.sessions:
            return self.note or "no sessions"
        if Outcome.SUBMITTED.value in self.counts:
            return (
                f"{len(self.sessions)} {plural('session', len(self.sessions))} submitted: "
                f"flow run {self.flow_run_id}{f', {self.run_url}' if self.run_url else ''}"
            )
        outcomes = ", ".join(f"{count} {_WORDS[Outcome(outcome)]}" for outcome, count in self.counts.items())
        return (
            f"{len(self.sessions)} {plural('session', len(self.sessions))}: {outcomes}; "
            f"{self.turns_persisted} {plural('turn', self.turns_persisted)}, {self.nodes} nodes, {self.edges} edges, "
            f"{self.llm_calls} LLM {plural('call', self.llm_calls)}, {self.seconds:.1f} s"
        )

    def asstr(self, *, told: bool = False) -> str:
        """The report for a terminal: a line a session, what to do about failures, the counts, the picture.

        Args:
            told: sessions that went well have had their lines while the run went on.
        """
        sessions = [one for one in _sorted(self.sessions) if not told or one.error or one.outcome not in _WENT_WELL]
        lines = [f"{session.session_id}: {_line(session)}" for session in sessions[:SHOWN]]
        lines += cut_note(len(sessions))
        if self.note and self.sessions:
            lines.append(self.note)
        lines += self._what_was_masked()
        if self.local_model:
            lines.append("No LLM is configured: the packaged rules read the text. Set LLM_API_KEY for a better graph.")
        lines.append(self.summary())
        if self.picture:
            lines.append(f"What it added to the graph: {self.picture}")
        return "\n".join(lines)

    def to_markdown(self) -> str:
        """The report for Prefect's page of a run; its sessions are in `table`."""
        lines = [f"# {cell(self.dataset)}", ""]
        if not self.sessions:
            return "\n".join([*lines, self.summary()])
        lines += [
            f"{_WORDS[Outcome(outcome)].capitalize()}: {count} of {len(self.sessions)} "
            f"{plural('session', len(self.sessions))}  "
            for outcome, count in self.counts.items()
        ]
        lines += ["", "| turns stored now | nodes | edges | LLM calls | tokens in | tokens out | seconds |"]
        lines += ["| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
        lines += [
            f"| {self.turns_persisted} | {self.nodes} | {self.edges} | {self.llm_calls} "
            f"| {_tokens(self.tokens_in)} | {_tokens(self.tokens_out)} | {self.seconds:.1f} |",
            "",
        ]
        lines += [line for masked in self._what_was_masked() for line in (masked.capitalize(), "")]
        failures = [f"- `{cell(s.session_id)}`: {s.error}" for s in self.failed_sessions if s.error]
        if failures:
            lines += ["## What to do", "", *failures[:SHOWN]]
            lines += [f"- and {len(failures) - SHOWN} more, in the table of sessions"] * (len(failures) > SHOWN) + [""]
        lines += [self.note, ""] if self.note else []
        lines += [f"Model: {self.model}", ""] if self.model and self.llm_calls else []
        lines += self._where_the_picture_is()
        return "\n".join(lines)

    def _where_the_picture_is(self) -> list[str]:
        if not self.picture:
            return []
        # Browsers open no file from a page of a server, so the path is there to be copied.
        link = f"[What it added]({Path(self.picture).as_uri()})"
        return [f"{link} to the graph, a file on {cell(self.host or 'this machine')}: `{cell(self.picture)}`"]

    def _what_was_masked(self) -> list[str]:
        kinds = [*(kind for kind in _MASKED if kind in self.masked), *sorted(self.masked.keys() - _MASKED.keys())]
        told = [f"{self.masked[kind]} {_masked_words(kind, self.masked[kind])}" for kind in kinds]
        return [f"masked: {', '.join(told)}"] if told else []

    def table(self) -> list[dict[str, str | int]]:
        """A row for each session, those somebody should look at first; cut where a page would not open any more."""
        return [
            {
                "session": session.session_id,
                "outcome": _WORDS[session.outcome],
                "turns stored now": session.turns_persisted,
                "pending": session.turns_pending,
                "quarantined": session.turns_quarantined,
                "nodes": session.nodes,
                "edges": session.edges,
                "what to do": session.error or "",
            }
            for session in _sorted(self.sessions)[:_ROWS]
        ]

    def raise_on_failure(self) -> None:
        """Raises SessionsNotPersisted, carrying this report, when a session needs attention."""
        if self.failed_sessions:
            raise SessionsNotPersisted(self.summary(), self)


class RebuildReport(BaseModel):
    """What `session-memory rebuild` did to the ledger's part of one user and dataset."""

    #: Windows that could not be read.
    dropped_windows: int
    #: Windows that cannot be read and are in no document.
    kept_windows: int
    #: Documents the ledger did not know.
    adopted_documents: int

    def asstr(self) -> str:
        """The report for a terminal."""
        return (
            f"{self.dropped_windows} unreadable {plural('window', self.dropped_windows)} dropped, "
            f"{self.adopted_documents} {plural('document', self.adopted_documents)} adopted. "
            "What is missing still is planned from the cache by the next `session-memory persist`."
            + (
                f" {self.kept_windows} unreadable, in no document: kept, `--drop` drops them."
                if self.kept_windows
                else ""
            )
        )


def _tokens(count: int) -> str:
    # The packaged rules count none, and some providers say none.
    return str(count) if count else ""


def _line(session: SessionReport) -> str:
    words = [_WORDS[session.outcome]]
    if session.turns_persisted:
        words.append(f"{session.turns_persisted} {plural('turn', session.turns_persisted)}")
    if session.turns_foreign:
        words.append(f"{session.turns_foreign} stored by cognee itself")
    if session.turns_quarantined:
        words.append(f"{session.turns_quarantined} quarantined")
    if session.turns_pending:
        words.append(f"{session.turns_pending} pending")
    line = ", ".join(dict.fromkeys(words))
    return f"{line}. {session.error}" if session.error else line


def _masked_words(kind: str, count: int) -> str:
    one, several = _MASKED.get(kind, (kind, kind))
    return one if count == 1 else several


def _sorted(sessions: tuple[SessionReport, ...]) -> list[SessionReport]:
    return sorted(sessions, key=lambda session: _ORDER.index(session.outcome))


def cut_note(count: int) -> list[str]:
    """The line that follows the `SHOWN` lines of a report that has more."""
    return [f"and {count - SHOWN} more; `--json` lists them all"] if count > SHOWN else []


def time_left(until: datetime | None, now: datetime) -> str:
    """How long until something expires, for a cell of a table; empty where it never does."""
    if until is None:
        return ""
    return humanize.naturaldelta(until - now) if until > now else "now"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'").replace("\n", " ")


def plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
