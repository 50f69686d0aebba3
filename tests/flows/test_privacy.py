"""I7: what was said stands in the cache, the ledger's frozen text and cognee's documents, graph and vectors only."""

import logging
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from session_memory.errors import SessionMemoryError
from tests import double
from tests.conftest import HOME
from tests.running import persist
from tests.world import all_rows, files_below, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")

MARKER = "Zanzibarquux"
#: The only tables that may hold it.
ALLOWED = {"session_memory_window"}


async def test_conversation_text_is_nowhere_but_where_it_belongs(world, llm, all_logs, capfd):
    good, refused, broken, edited = (new_session() for _ in range(4))
    for session, question in [
        (good, f"What is {MARKER}?"),
        (refused, f"What is {MARKER} Poison?"),
        (broken, f"What is {MARKER} Broken?"),
    ]:
        await world.say(session, question=question, answer=f"{MARKER} is a secret.")
    qa_id = await world.say(edited, question=f"What is {MARKER} Old?", answer=f"{MARKER} was.")
    llm.refuse("Poison")
    llm.fail("Broken", lambda: double.litellm.InternalServerError(f"cannot read {MARKER}", double.MODEL, "double"))
    report = await persist(world, good, refused, broken, edited)
    await world.edit(edited, qa_id, f"What is {MARKER} New?")
    await persist(world, edited)

    assert MARKER not in report.model_dump_json()
    assert MARKER not in report.asstr() + report.to_markdown()
    assert not [line for line in all_logs if MARKER in line]
    captured = capfd.readouterr()
    assert MARKER not in captured.out + captured.err
    for table, rows in (await all_rows()).items():
        assert table in ALLOWED or not [row for row in rows if MARKER in str(row)], table
    # The test can fail: the marker is found where it belongs.
    assert MARKER in str((await all_rows())["session_memory_window"])
    await assert_prefect_holds_no(MARKER)


async def assert_prefect_holds_no(marker: str) -> None:
    from prefect.settings import get_current_settings

    url = str(get_current_settings().server.database.connection_url.get_secret_value())
    path = Path(url.split("///", 1)[1].split("?")[0])
    assert path.exists(), url
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert "flow_run" in tables
        for table in tables:
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
            assert not [row for row in rows if marker in str(row)], table
    results = [file for file in files_below(HOME / "prefect") if "results" in file.parts or "storage" in file.parts]
    assert results
    for file in results:
        assert marker.encode() not in file.read_bytes(), file


SECRET = "sk-hunter2"
QUOTING = {
    "key": lambda: double.litellm.AuthenticationError(f"Incorrect API key provided: {SECRET}", "double", double.MODEL),
    "provider": lambda: double.litellm.InternalServerError(f"http://ada:{SECRET}@proxy", "double", double.MODEL),
    "database": lambda: OperationalError("SELECT", {}, OSError(f"postgresql://ada:{SECRET}@db")),
    "defect": lambda: RuntimeError(f"redis://:{SECRET}@cache"),
}


@pytest.mark.parametrize(
    ("where", "quoting"), [("llm", "key"), ("llm", "provider"), ("ledger", "database"), ("access", "defect")]
)
async def test_keys_and_passwords_that_errors_quote_are_nowhere(
    world, llm, all_logs, capfd, monkeypatch, where, quoting
):
    from session_memory import access, ledger

    session = new_session()
    await world.say(session)

    async def fails(*args, **kwargs):
        raise QUOTING[quoting]()

    if where == "llm":
        llm.fail("Marker", QUOTING[quoting])
        told = (await persist(world, session)).model_dump_json()
    else:
        monkeypatch.setattr(*((ledger, "sessions_in") if where == "ledger" else (access, "get_user_by_email")), fails)
        with pytest.raises(SessionMemoryError) as error:
            await persist(world, session)
        told = f"{error.value!r} {error.value}"
    captured = capfd.readouterr()
    for text in (told, captured.out, captured.err, *all_logs, str(await all_rows())):
        assert SECRET not in text
    await assert_prefect_holds_no(SECRET)


async def test_errors_that_quote_a_document_are_told_in_our_words(world, llm):
    """cognee's content-policy error contains the whole document."""
    session = new_session()
    await world.say(session, question=f"What is {MARKER} Poison?")
    llm.refuse("Poison")
    report = await persist(world, session)
    assert "ContentPolicyFilterError" in (report.sessions[0].error or "")
    rows = await all_rows()
    errored = [row for row in rows["pipeline_runs"] if "ERRORED" in str(row)]
    assert errored
    assert MARKER not in str(errored)


def test_records_of_other_libraries_lose_their_message_and_keep_their_place():
    import importlib

    from session_memory import logs

    logs.install()
    where = importlib.import_module("cognee.shared.logging_utils").__file__
    try:
        raise ValueError(MARKER) from KeyError(MARKER)
    except ValueError as error:
        record = logging.getLogRecordFactory()(
            "any", logging.ERROR, where, 7, "text %s", (MARKER,), (type(error), error, error.__traceback__)
        )
    assert logging.Formatter().format(record) == "cognee: ERROR at logging_utils:7 (ValueError from KeyError)"
    ours = logging.getLogRecordFactory()("any", logging.ERROR, __file__, 7, "text %s", ("kept",), None)
    assert ours.getMessage() == "text kept"
