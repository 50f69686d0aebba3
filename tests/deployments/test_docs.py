"""Every command and every piece of Python of the README and of `docs/` is run, as it stands there."""

import ast
import asyncio
import inspect
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from tests.faults import processes
from tests.world import World

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("at_server", "worker", "llm")]

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if BLOCK.search(page.read_text())]

#: What other tests run, or `.ci/run` itself.
ELSEWHERE = {
    "make setup": ".ci/run",
    "make test": ".ci/run",
    "make demo": "tests/deployments/test_cli.py::test_the_demo_tells_the_story_with_no_key_and_no_network",
    "make serve": "tests/deployments/test_serve.py::test_it_serves_until_ctrl_c_and_leaves_nothing_behind",
    "cp .env.example .env": (
        "tests/session_memory/test_settings.py::test_every_key_stands_in_the_example_with_its_default"
    ),
    "prefect work-pool create session-memory --type process": "tests/deployments/conftest.py::server",
    "prefect deploy --all": "tests/deployments/conftest.py::server",
    "prefect worker start --pool session-memory": "tests/deployments/conftest.py::worker",
}
#: In the docs, a turn of chat-1.
TURN = "264716cd-0cff-4ba9-a3b7-b6820cdaaf02"


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def commands(text: str) -> list[str]:
    """The lines of a block, without their comments and without what is run elsewhere."""
    lines = [line.split("  #")[0].strip() for line in text.splitlines()]
    return [line for line in lines if line and line not in ELSEWHERE]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ada(_engine, server) -> World:
    """The user of the docs, with sessions of their names."""
    from cognee.modules.users.methods import create_user, get_user_by_email

    email = "ada@example.com"
    user = await get_user_by_email(email) or await create_user(email, "a password of a test")
    world = await World.new(user, "main_dataset")
    for session in ("chat-1", "chat-2"):
        for _ in range(2):
            await world.say(session)
    # Some examples are of nobody in particular.
    default = await World.new(None, "main_dataset")
    for session in ("chat-1", "chat-2"):
        await default.say(session)
    return world


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_everything_of_a_page_works(page, ada, server):
    # What is persisted again, forgotten again, tried again.
    for session in ("chat-1", "chat-2"):
        await ada.say(session)
    turns = await ada.cached("chat-1")
    for text in blocks(page, "sh"):
        lines = [line.replace(TURN, turns[0]) for line in commands(text)]
        for piece in lines if all(line.startswith("session-memory ") for line in lines) else ["\n".join(lines)]:
            if "retry chat-7" in piece:
                await ada.say("chat-7", question="What is Poison?")
                await processes.command("persist", "chat-7", "--user", ada.user.email, **{processes.REFUSE: "Poison"})
            code, told = await run(piece, server)
            assert code == 0, f"{piece}\n{told}"
    for text in blocks(page, "python"):
        code = compile(text, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        if inspect.iscoroutine(ran := eval(code, {})):
            await ran


def test_what_runs_elsewhere_is_in_the_docs_and_runs_there():
    written = {
        line.split("  #")[0].strip() for page in PAGES for text in blocks(page, "sh") for line in text.splitlines()
    }
    assert set(ELSEWHERE) <= written
    for command, where in ELSEWHERE.items():
        file, _, name = where.partition("::")
        text = (ROOT / file).read_text()
        assert f"def {name}(" in text if name else command in text


async def run(piece: str, server) -> tuple[int, str]:
    """Run one of our commands with the LLM double, anything else in a shell; its exit code and what it printed."""
    if piece.startswith("session-memory "):
        ended = await processes.command(*shlex.split(piece)[1:])
        return ended.returncode, ended.output
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-ec", piece),
        env={**os.environ, **server.environment, "PATH": path},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await shell.communicate()
    return shell.returncode or 0, out.decode()
