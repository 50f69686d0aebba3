"""The story from the first fact to a conversation in the graph, on one machine, told as it happens."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from session_memory import runtime
from session_memory.planning import NODE_SET
from session_memory.settings import get_settings, load_env_file

if TYPE_CHECKING:
    from session_memory.report import PersistReport

DATASET = "session_demo"
SESSION = "demo_session"
STATE = Path(".demo")
PICTURE = STATE / "graph.html"

FACTS = [
    "Mara Lindt leads the battery team at Voltaris in Graz.",
    "Voltaris builds sodium batteries for ferries.",
    "The ferry Aurora crosses the Baltic Sea with batteries from Voltaris.",
    "Tomas Reyes tests the batteries in a laboratory in Valencia.",
]
QUESTIONS = ["Who leads the battery team?", "Which ferry sails with batteries from Voltaris?"]
SEARCH = "Which questions were asked about the ferry?"

# Whatever this machine is set up for, the demo writes to its own folder and to no server.
_EMBEDDED = {
    "DB_PROVIDER": "sqlite",
    "VECTOR_DB_PROVIDER": "lancedb",
    "GRAPH_DATABASE_PROVIDER": "ladybug",
    "CACHE_BACKEND": "sqlite",
    "CACHING": "true",
    # A probe call each is a call more to wait for; the demo asks no feedback.
    "AUTO_FEEDBACK": "false",
}
_NOT_EMBEDDED = ("PREFECT_API_URL", "CACHE_DB_URL", "GRAPH_DATABASE_URL", "VECTOR_DB_URL", "DB_NAME")


def tell(console: Console) -> int:
    """Tell the story on `console`; returns the exit code."""
    _move_in()
    return asyncio.run(_story(console))


def _move_in() -> None:
    load_env_file()
    state = STATE.absolute()
    os.environ.update(
        _EMBEDDED,
        SESSION_MEMORY_STATE_DIR=str(state),
        SYSTEM_ROOT_DIRECTORY=str(state / "system"),
        DATA_ROOT_DIRECTORY=str(state / "data"),
        CACHE_ROOT_DIRECTORY=str(state / "cache"),
        PREFECT_HOME=str(state / "prefect"),
        PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="true",
    )
    for key in _NOT_EMBEDDED:
        os.environ.pop(key, None)
    get_settings.cache_clear()


async def _story(console: Console) -> int:
    started = time.monotonic()
    say = _Narrator(console)
    with say.working("Loading cognee"):
        engine = await runtime.start()
    if engine.is_local:
        console.print(
            "No LLM is configured, so spaCy's rules read the text, on this machine. Set LLM_API_KEY to use yours."
        )
    else:
        console.print(f"Your LLM reads the text: {engine.model}.")
    cognee = engine.cognee

    say.chapter("An agent learns a few facts")
    say.lines(FACTS)
    with say.working("Building the graph"):
        await cognee.add("\n".join(FACTS), dataset_name=DATASET)
        await cognee.cognify(datasets=[DATASET])

    say.chapter(f"Somebody asks it, in the session {SESSION}")
    for question in QUESTIONS:
        with say.working("Thinking"):
            answer = await _ask(cognee, question)
        say.lines([f"Q: {question}", f"A: {answer}"])
    console.print("The session lives in a cache, which forgets it after a week.")

    say.chapter("Session Memory puts the session into the graph")
    with say.working("Running the flow persist-sessions on a Prefect server of its own"):
        from flows.persist_sessions import persist_sessions

        first = await persist_sessions(session_ids=[SESSION], dataset=DATASET)
    say.lines([first.summary()])
    if first.picture:
        console.print(f"What it added: {first.picture} (open it in a browser)", highlight=False, soft_wrap=True)

    say.chapter(f"Searching what was said, only in the node set {NODE_SET}")
    console.print(f"Search: {SEARCH}")
    with say.working("Searching"):
        said = await _said(cognee)
        await cognee.visualize_graph(str(PICTURE.absolute()), dataset=DATASET)
    say.lines(said)

    say.chapter("The same flow again")
    with say.working("Running it"):
        second = await persist_sessions(session_ids=[SESSION], dataset=DATASET)
    console.print(f"{second.llm_calls} LLM calls: nothing new, nothing twice.")
    console.print(f"\nThe graph: {PICTURE} (open it in a browser)")
    console.print(_last_line(first, second, time.monotonic() - started), style="bold", soft_wrap=True)
    return 0 if said and second.llm_calls == 0 else 1


async def _ask(cognee: Any, question: str) -> str:
    found = await cognee.search(
        query_text=question,
        query_type=cognee.SearchType.GRAPH_COMPLETION,
        datasets=[DATASET],
        session_id=SESSION,
    )
    return " ".join(_texts(found))


async def _said(cognee: Any) -> list[str]:
    """The turns that a search in the sessions' node set finds."""
    found = await cognee.search(
        query_text=SEARCH,
        query_type=cognee.SearchType.CHUNKS,
        datasets=[DATASET],
        node_name=[NODE_SET],
        top_k=3,
    )
    return [
        " ".join(line.split())
        for text in _texts(found)
        for line in text.splitlines()
        if line.startswith(("Question:", "Answer:"))
    ]


def _texts(found: list[Any]) -> list[str]:
    """The texts of a search's results, whatever they are wrapped in."""
    results = [one["search_result"] if isinstance(one, dict) and "search_result" in one else [one] for one in found]
    return [item["text"] if isinstance(item, dict) else str(item) for result in results for item in result]


def _last_line(first: "PersistReport", second: "PersistReport", seconds: float) -> str:
    return (
        f"{len(FACTS)} facts, {len(QUESTIONS)} questions, {first.turns_persisted} turns persisted once, "
        f"{first.nodes} nodes, {first.edges} edges, {second.llm_calls} LLM calls the second time, {seconds:.0f} s"
    )


class _Narrator:
    """Speaks on a terminal and in a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def chapter(self, title: str) -> None:
        self._console.print(f"\n{title}", style="bold cyan")

    def lines(self, lines: list[str]) -> None:
        for line in lines:
            self._console.print(f"  {line}", markup=False, highlight=False, soft_wrap=not self._console.is_terminal)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something goes on, and how long it took when that was long."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(f"{what}…"):
                yield
        else:
            self._console.print(f"{what}…", style="dim")
            yield
        seconds = time.monotonic() - started
        if seconds > 2:
            self._console.print(f"({what.lower()}: {seconds:.0f} s)", style="dim", highlight=False)
