"""The command `session-memory`."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

from session_memory.errors import PrefectUnreachable, SessionMemoryError, SessionsNotPersisted

if TYPE_CHECKING:
    from session_memory.diagnosis import Diagnosis
    from session_memory.pending_report import PendingReport
    from session_memory.report import PersistReport, RebuildReport

    Report = PersistReport | PendingReport | RebuildReport

T = TypeVar("T")

DONE, FAILED, USAGE, PARTLY = 0, 1, 2, 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Put the conversations of cognee agents into their knowledge graph, each turn exactly once.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 partly done.",
)
out = Console()
err = Console(stderr=True)

Sessions = Annotated[list[str], typer.Argument(metavar="SESSION...", help="Session ids, as the agent named them.")]
Session = Annotated[str, typer.Argument(metavar="SESSION", help="A session id, as the agent named it.")]
User = Annotated[
    str | None,
    typer.Option(help="Whose sessions: an e-mail or a UUID.", show_default="cognee's default user"),
]
Dataset = Annotated[str, typer.Option(help="Where to: the name of one of the user's datasets, or a UUID.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

Drop = Annotated[
    bool,
    typer.Option("--drop", help="Drop what is in no document too: what the cache no longer holds of it is lost."),
]


@app.command()
def persist(sessions: Sessions, user: User = None, dataset: Dataset = "main_dataset", as_json: AsJson = False) -> None:
    """Put named sessions into the knowledge graph."""
    _run(lambda: _persist(user, sessions, dataset), as_json=as_json, doing="Persisting")


@app.command()
def retry(session: Session, user: User = None, dataset: Dataset = "main_dataset", as_json: AsJson = False) -> None:
    """Try the quarantined turns of a session again."""
    _run(lambda: _retry(user, session, dataset), as_json=as_json, doing="Trying again")


@app.command()
def rebuild(user: User = None, dataset: Dataset = "main_dataset", drop: Drop = False, as_json: AsJson = False) -> None:
    """Drop what cannot be read of the ledger, and take it from the dataset's documents."""
    _run(lambda: _rebuild(user, dataset, drop=drop), as_json=as_json, doing="Rebuilding the ledger")


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Where Prefect's server listens, unless PREFECT_API_URL names one.")] = 4200,
) -> None:
    """Serve everything on this machine: a Prefect server with its page, the deployments, their schedules."""
    _quiet()
    from session_memory.settings import load_env_file

    load_env_file()
    from deployments.serve import choose_server
    from deployments.serve import serve as serve_here

    # Before Prefect is imported, which reads then where its server is.
    try:
        start_at = choose_server(port)
    except SessionMemoryError as error:
        _fail(error.code, str(error), FAILED, as_json=False)
    out.print("Starting Prefect's server…" if start_at else "Registering with Prefect's server…")
    _guarded(lambda: asyncio.run(serve_here(out, start_at)), as_json=False)


@app.command()
def automations(as_json: AsJson = False) -> None:
    """Create or update the automations on Prefect's server: alerts, lost heartbeats, one more try."""
    _quiet()

    def work() -> list[str]:
        from deployments.automations import apply_to_server

        return asyncio.run(apply_to_server())

    names = _guarded(work, as_json=as_json)
    if as_json:
        print(json.dumps({"automations": names}))  # noqa: T201 - the answer, not a log
    else:
        out.print("\n".join(names), markup=False, highlight=False)


@app.command()
def doctor(
    user: User = None,
    dataset: Dataset = "main_dataset",
    models: Annotated[
        bool, typer.Option("--models", help="Ask the LLM and the embedding model for one word each.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at every connection, version, permission and setting, and say what to do."""
    _quiet()

    def work() -> "Diagnosis":
        from deployments.doctor import examine

        with err.status("Looking… (loading cognee takes about ten seconds)"):
            return asyncio.run(examine(user, dataset, ask_models=models))

    diagnosis = _guarded(work, as_json=as_json)
    if as_json:
        print(diagnosis.model_dump_json())  # noqa: T201 - the answer, not a log
    else:
        out.print(diagnosis.asstr(), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(DONE if diagnosis.healthy else FAILED)


@app.command()
def demo() -> None:
    """Tell the whole story on this machine, with no key and no network."""
    _quiet()
    from deployments.demo import tell

    raise typer.Exit(tell(out))


def main() -> NoReturn:
    """The entry point."""
    app()
    raise SystemExit(DONE)


async def _persist(user: str | None, session_ids: list[str], dataset: str) -> "PersistReport":
    from flows.persist_sessions import persist_sessions

    return await persist_sessions(user=user, session_ids=session_ids, dataset=dataset)


async def _retry(user: str | None, session_id: str, dataset: str) -> "PersistReport":
    from session_memory import runtime

    await runtime.start()
    from session_memory.failures import told_in_our_words
    from session_memory.quarantine import release

    with told_in_our_words():
        await release(user, session_id, dataset)
    return await _persist(user, [session_id], dataset)


async def _rebuild(user: str | None, dataset: str, *, drop: bool) -> "RebuildReport":
    from session_memory import runtime
    from session_memory.settings import get_settings

    await runtime.start()
    from session_memory.access import authorise
    from session_memory.adoption import rebuild
    from session_memory.failures import told_in_our_words

    with told_in_our_words():
        return await rebuild(await authorise(user, dataset, get_settings()), drop=drop)


def _run(work: Callable[[], Coroutine[Any, Any, "Report"]], *, as_json: bool, doing: str) -> NoReturn:
    """Run `work`, print its report or its error, and leave with the exit code that says which."""
    _quiet()
    code = DONE

    def reported() -> "Report":
        nonlocal code
        try:
            with err.status(f"{doing}… (loading cognee takes about ten seconds)"):
                return asyncio.run(work())
        except SessionsNotPersisted as error:
            if error.report is None:
                raise
            code = FAILED if error.report.all_failed else PARTLY
            return error.report

    report = _guarded(reported, as_json=as_json)
    if as_json:
        print(report.model_dump_json())  # noqa: T201 - the answer, not a log
    else:
        out.print(report.asstr(), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


def _guarded(work: Callable[[], T], *, as_json: bool) -> T:
    """What `work` gives; an error that a user can do something about is printed, and ends the command."""
    from prefect.exceptions import ParameterTypeError
    from prefect.settings import PREFECT_API_URL

    try:
        return work()
    except SessionMemoryError as error:
        _fail(error.code, str(error), FAILED, as_json=as_json)
    except RuntimeError as error:
        if "Failed to reach API" not in str(error):
            raise
        unreachable = PrefectUnreachable(url=_masked(PREFECT_API_URL.value()))
        _fail(unreachable.code, str(unreachable), FAILED, as_json=as_json)
    except ParameterTypeError as error:
        _fail("usage", str(error), USAGE, as_json=as_json)


def _masked(url: str) -> str:
    """A URL without the password it may carry."""
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)


def _fail(code: str, message: str, exit_code: int, *, as_json: bool) -> NoReturn:
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}))  # noqa: T201 - the answer
    else:
        err.print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(exit_code)


def _quiet() -> None:
    """Keep logs off the terminal: what a run did is in its report and on Prefect's page. Before Prefect is imported."""
    if "PREFECT_LOGGING_LEVEL" not in os.environ:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    # Usage statistics: they would leave the machine, and fail loudly on a database that is busy.
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
