"""The command `session-memory`."""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from deployments import actions
from deployments.live import Live
from deployments.terminal import (
    DONE,
    FAILED,
    LOADING,
    PARTLY,
    USAGE,
    Report,
    TableReport,
    answer,
    answer_table,
    err,
    fail,
    guarded,
    out,
    quiet,
    waiting,
)
from session_memory.errors import SessionMemoryError, SessionsNotPersisted

if TYPE_CHECKING:
    from session_memory.diagnosis import Diagnosis

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Put the conversations of cognee agents into their knowledge graph, each turn exactly once.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 partly done.",
)

Session = Annotated[str, typer.Argument(metavar="SESSION", help="A session id, as the agent named it.")]
User = Annotated[
    str | None,
    typer.Option(help="Whose sessions: an e-mail or a UUID.", show_default="cognee's default user"),
]
Dataset = Annotated[str, typer.Option(help="Where to: the name of one of the user's datasets, or a UUID.")]
SomeSessions = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SESSION]...", help="Only these sessions.", show_default="all"),
]
OnlyUser = Annotated[str | None, typer.Option("--user", help="Only theirs: an e-mail or a UUID.", show_default="all")]
OnlyDataset = Annotated[
    str | None, typer.Option("--dataset", help="Only for this dataset: its name or UUID.", show_default="all")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

Drop = Annotated[
    bool,
    typer.Option("--drop", help="Drop what is in no document too: what the cache no longer holds of it is lost."),
]


@app.command()
def plan(
    sessions: SomeSessions = None, user: OnlyUser = None, dataset: OnlyDataset = None, as_json: AsJson = False
) -> None:
    """Show what persisting what is pending would do and cost. Writes nothing and asks no LLM."""
    _show(lambda: actions.plan(_only(user), _only(dataset), sessions), as_json=as_json)


@app.command()
def persist(
    sessions: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION...", help="Session ids, as the agent named them.", show_default=False),
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            help="Whose sessions: an e-mail or a UUID.",
            show_default="cognee's default user; with --pending: everybody",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Where to: the name of one of the user's datasets, or a UUID.",
            show_default="main_dataset; with --pending: wherever each belongs",
        ),
    ] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Everything that is in no dataset yet.")] = False,
    background: Annotated[bool, typer.Option("--background", help="Hand it to a worker, and return.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put named sessions into the knowledge graph, or everything that is pending."""
    if bool(sessions) == pending:
        fail("usage", "Name the sessions to persist, or use `--pending` for all that wait.", USAGE, as_json=as_json)
    if pending and background:
        run = "prefect deployment run persist-pending-sessions/nightly"
        fail("usage", f"What is pending is handed to a worker with `{run}`.", USAGE, as_json=as_json)
    if pending:
        _run(lambda: actions.persist_pending(_only(user), _only(dataset)), as_json=as_json, doing="Persisting")
    else:
        work = partial(actions.persist, user, sessions or [], dataset or "main_dataset", background=background)
        _run(work, as_json=as_json, doing="Persisting")


@app.command()
def retry(session: Session, user: User = None, dataset: Dataset = "main_dataset", as_json: AsJson = False) -> None:
    """Try the quarantined turns of a session again."""
    _run(lambda: actions.retry(user, session, dataset), as_json=as_json, doing="Trying again")


@app.command()
def status(
    sessions: SomeSessions = None, user: OnlyUser = None, dataset: OnlyDataset = None, as_json: AsJson = False
) -> None:
    """Show what became of each session so far, in each dataset, and the last runs."""
    _show(lambda: actions.status(_only(user), _only(dataset), sessions), as_json=as_json)


@app.command()
def verify(
    sessions: SomeSessions = None,
    user: User = None,
    dataset: Dataset = "main_dataset",
    repair: Annotated[bool, typer.Option("--repair", help="Write again what is not as it should be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Prove that each persisted turn is in the dataset once, and is found by a search."""
    quiet()

    report = waiting(
        "Verifying",
        lambda say: actions.verify(user, sessions, dataset, repair=repair, say=say),
        as_json=as_json,
    )
    answer(report, as_json=as_json)
    raise typer.Exit(FAILED if report.problems else PARTLY if report.turns_to_write else DONE)


@app.command()
def forget(
    session: Session,
    turn: Annotated[
        str | None, typer.Option(help="Only this turn of it, by its qa_id.", show_default="all of it")
    ] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Remove it from the session cache too.")] = False,
    user: User = None,
    dataset: Dataset = "main_dataset",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove a session, or one turn of it, from the dataset for good."""
    quiet()
    if not yes:
        what = f"{f'turn {turn} of ' if turn else ''}session {session} from {dataset}"
        if not sys.stdin.isatty():
            fail("not_confirmed", f"This removes {what} for good. To do it unasked: `--yes`.", USAGE, as_json=as_json)
        typer.confirm(f"Remove {what} for good?", abort=True, err=True)

    report = waiting("Forgetting", lambda _: actions.forget(user, session, turn, dataset, cache=cache), as_json=as_json)
    answer(report, as_json=as_json)
    raise typer.Exit(DONE if report.rewritten else PARTLY)


@app.command()
def rebuild(user: User = None, dataset: Dataset = "main_dataset", drop: Drop = False, as_json: AsJson = False) -> None:
    """Drop what cannot be read of the ledger, and take it from the dataset's documents."""
    _run(lambda: actions.rebuild(user, dataset, drop=drop), as_json=as_json, doing="Rebuilding the ledger")


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Where Prefect's server listens, unless PREFECT_API_URL names one.")] = 4200,
) -> None:
    """Serve everything on this machine: a Prefect server with its page, the deployments, their schedules."""
    quiet()
    from session_memory.settings import load_env_file

    load_env_file()
    from deployments.serve import choose_server
    from deployments.serve import serve as serve_here

    # Before Prefect is imported, which reads then where its server is.
    try:
        start_at = choose_server(port)
    except SessionMemoryError as error:
        fail(error.code, str(error), FAILED, as_json=False)
    out.print("Starting Prefect's server…" if start_at else "Registering with Prefect's server…")
    guarded(lambda: asyncio.run(serve_here(out, start_at)), as_json=False)


@app.command()
def automations(as_json: AsJson = False) -> None:
    """Create or update the automations on Prefect's server: alerts, lost heartbeats, one more try."""
    quiet()

    def work() -> list[str]:
        from deployments.automations import apply_to_server

        return asyncio.run(apply_to_server())

    names = guarded(work, as_json=as_json)
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
    quiet()

    async def work(_: object) -> "Diagnosis":
        from deployments.doctor import examine

        return await examine(user, dataset, ask_models=models)

    diagnosis = waiting("Looking", work, as_json=as_json)
    answer(diagnosis, as_json=as_json)
    raise typer.Exit(DONE if diagnosis.healthy else FAILED)


@app.command()
def demo() -> None:
    """Tell the whole story on this machine, with no key and no network."""
    quiet()
    from deployments.demo import tell

    raise typer.Exit(tell(out))


def main() -> NoReturn:
    """The entry point."""
    app()
    raise SystemExit(DONE)


def _only(name: str | None) -> list[str] | None:
    return [name] if name else None


def _show(work: Callable[[], Coroutine[Any, Any, "TableReport"]], *, as_json: bool) -> None:
    """Look, change nothing, and print what was seen."""
    quiet()
    answer_table(waiting("Looking", lambda _: work(), as_json=as_json), as_json=as_json)


def _run(work: Callable[[], Coroutine[Any, Any, "Report"]], *, as_json: bool, doing: str) -> NoReturn:
    """Run `work`, print its report or its error, and leave with the exit code that says which."""
    quiet()
    code = DONE
    live = Live(err, f"{doing}… {LOADING}")

    def reported() -> "Report":
        nonlocal code
        from flows.progress import watched_by

        try:
            with live.shown(), watched_by(live):
                return asyncio.run(work())
        except SessionsNotPersisted as error:
            if error.report is None:
                raise
            code = FAILED if error.report.all_failed else PARTLY
            return error.report

    report = guarded(reported, as_json=as_json)
    answer(report, as_json=as_json, told=live.told)
    raise typer.Exit(code)
