"""The command, as a person and as a program call it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlparse

import pytest

from tests.faults import processes
from tests.world import World, new_session


async def command(*arguments: str, **extra: str) -> tuple[int, str, str]:
    """Run the command with the LLM double; exit code, standard output, standard error."""
    ended = await processes.command(*arguments, **extra)
    return ended.returncode, ended.out, ended.err


@pytest.mark.long
@pytest.mark.usefixtures("prefect_server")
async def test_persist_prints_the_report_and_as_json_one_object(world):
    session = new_session()
    await world.say(session)
    code, out, _ = await command("persist", session, "--dataset", world.dataset.name)
    assert code == 0
    assert out.splitlines()[0] == f"{session}: persisted, 1 turn"
    code, out, _ = await command("persist", session, "--dataset", str(world.dataset.id), "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["counts"], report["llm_calls"]) == ({"nothing_new": 1}, 0)


@pytest.mark.usefixtures("prefect_server")
async def test_exit_codes_tell_partly_failed_and_wrong_usage_apart(world):
    session, unknown = new_session(), new_session()
    await world.say(session)
    dataset = ("--dataset", world.dataset.name)
    code, out, _ = await command("persist", session, unknown, *dataset)
    assert code == 3, out
    assert out.splitlines()[0].startswith(f"{unknown}: not found.")
    code, _, err = await command("persist", session, "--dataset", "no-such-dataset")
    assert code == 1
    assert "The user has no dataset no-such-dataset." in err
    assert "Traceback" not in err
    code, out, _ = await command("persist", " ", *dataset, "--json")
    assert code == 2
    assert json.loads(out)["error"]["code"] == "usage"


@pytest.mark.long
@pytest.mark.usefixtures("prefect_server")
async def test_retry_tries_a_quarantined_session_again(world, llm):
    session = new_session()
    await world.say(session, question="What is Poison?")
    dataset = ("--dataset", world.dataset.name)
    code, out, _ = await command("persist", session, *dataset, **{processes.REFUSE: "Poison"})
    assert code == 1, out
    assert f"{session}: quarantined, 1 quarantined" in out
    code, out, _ = await command("retry", session, *dataset)
    assert code == 0, out
    code, _, err = await command("retry", session, *dataset)
    assert code == 1
    assert "nothing to try again" in err


@pytest.mark.long
@pytest.mark.usefixtures("prefect_server")
async def test_plan_persist_verify_and_forget_tell_one_story(llm):
    world = await World.own()
    sessions = sorted(new_session() for _ in range(2))
    turns = [await world.say(session) for session in sessions for _ in range(2)]
    mine = ("--user", world.user.email)
    code, out, _ = await command("plan", *mine, "--json")
    planned = json.loads(out)
    assert (code, planned["llm_calls"]) == (0, 4)
    code, out, _ = await command("persist", "--pending", *mine, "--json")
    assert code == 0, out
    assert json.loads(out)["runs"][0]["llm_calls"] == planned["llm_calls"]
    code, out, _ = await command("verify", *mine)
    assert (code, out.split(" proved")[0]) == (0, "all 4 turns of 2 sessions")
    code, out, _ = await command("forget", sessions[0], *mine, "--json")
    assert (code, json.loads(out)["error"]["code"]) == (2, "not_confirmed")
    assert await world.all_stored_once()
    code, out, _ = await command("forget", sessions[0], "--turn", turns[0], *mine, "--yes", "--json")
    assert code == 0, out
    report = json.loads(out)
    assert (report["turns_forgotten"], report["turns_rewritten"], report["rewritten"]) == (1, 1, True)
    stored = await world.stored()
    assert [stored[turn] for turn in turns] == [(0, 0), (1, 1), (1, 1), (1, 1)]
    code, out, _ = await command("status", *mine)
    assert f"{sessions[0]} in main_dataset: 2 cached, 1 persisted, 1 removed" in out


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("arguments", [(), ("chat-1", "--pending"), ("--pending", "--background")])
async def test_persist_says_what_it_needs(arguments):
    code, _, err = await command("persist", *arguments)
    assert code == 2
    assert "--pending" in err or "persist-pending-sessions/nightly" in err


@pytest.mark.long
@pytest.mark.usefixtures("prefect_server")
async def test_verify_repairs_what_was_removed_behind_its_back(llm):
    world, session = await World.own(), new_session()
    await world.say(session)
    mine = ("--user", world.user.email)
    await command("persist", session, *mine)
    (document,) = await world.documents()
    os.remove(urlparse(document.raw_data_location).path)
    code, out, _ = await command("verify", *mine)
    assert code == 1
    assert "its document cannot be read" in out
    assert "`--repair`" in out
    refused = {processes.REFUSE: "Marker"}
    code, out, _ = await command("verify", *mine, "--repair", **refused)
    assert (code, "1 turn could not be written again" in out) == (3, True), out
    await command("retry", session, *mine)
    (document,) = await world.documents()
    os.remove(urlparse(document.raw_data_location).path)
    code, out, _ = await command("verify", *mine, "--repair")
    assert code == 0, out
    assert "1 turn written again" in out
    assert await world.all_stored_once()


def test_a_prefect_server_that_does_not_answer_is_named_without_a_traceback(tmp_path):
    ended = subprocess.run(
        [Path(sys.executable).parent / "session-memory", "persist", "s"],
        env={**os.environ, "PREFECT_API_URL": "http://ada:hunter2@127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert "Prefect's server at http://ada:***@127.0.0.1:9/api did not answer." in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_command_is_installed_and_explains_itself():
    ended = subprocess.run(
        [Path(sys.executable).parent / "session-memory", "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert ended.returncode == 0
    assert all(word in ended.stdout for word in ("demo", "persist", "retry", "Exit codes"))


@pytest.mark.long
def test_the_demo_tells_the_story_with_no_key_and_no_network(tmp_path):
    keep = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("LLM_", "EMBEDDING_", "HF_", "SESSION_MEMORY_", "PREFECT_", "COGNEE_"))
    }
    # Anything that asks for an address outside this machine fails.
    offline = {
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    ended = subprocess.run(
        [Path(sys.executable).parent / "session-memory", "demo"],
        cwd=tmp_path,
        env={**keep, **offline, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "0 LLM calls: nothing new, nothing twice." in ended.stdout
    assert "2 turns persisted once" in ended.stdout.replace("\n", " ")
    assert "Question: Which ferry sails" in ended.stdout
    assert (tmp_path / ".demo" / "graph.html").stat().st_size > 10_000
    # cognee's own libraries make the others at home; ours are all in .demo.
    assert {path.name for path in tmp_path.iterdir()} <= {".demo", ".prefect", ".cognee", ".cache", ".config", ".lbdb"}
