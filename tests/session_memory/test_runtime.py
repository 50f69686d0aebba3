"""How cognee is loaded: not by importing a flow, and without taking the process over."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import double
from tests.conftest import HOME

ROOT = Path(__file__).parents[2]


def python(program: str, **environment: str) -> dict:
    """Run a program in a fresh process; it prints one JSON object."""
    # What this test process set for itself.
    own = ("LLM_", "EMBEDDING_", "HF_", "COGNEE_", "SYSTEM_ROOT_", "DATA_ROOT_", "CACHE_ROOT_")
    keep = {key: value for key, value in os.environ.items() if not key.startswith(own)}
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**keep, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout.splitlines()[-1])


def test_importing_every_flow_and_task_and_the_command_loads_no_cognee_and_no_model():
    loaded = python(
        "import json, pkgutil, sys, importlib\n"
        "import flows, tasks, deployments.cli\n"
        "for package in (flows, tasks):\n"
        "    for module in pkgutil.iter_modules(package.__path__):\n"
        "        importlib.import_module(f'{package.__name__}.{module.name}')\n"
        "print(json.dumps([m for m in ('cognee', 'litellm', 'lancedb', 'spacy') if m in sys.modules]))"
    )
    assert loaded == []


def test_loading_cognee_leaves_logging_excepthook_and_site_packages_as_they_were(tmp_path):
    found = python(
        "import json, logging, sys, asyncio\n"
        "logging.basicConfig(level=logging.WARNING)\n"
        "before = (list(logging.getLogger().handlers), logging.getLogger().level, sys.excepthook)\n"
        "from session_memory import runtime\n"
        "started = asyncio.run(runtime.start())\n"
        "after = (list(logging.getLogger().handlers), logging.getLogger().level, sys.excepthook)\n"
        "from cognee.base_config import get_base_config as base\n"
        "folders = [base().system_root_directory, base().data_root_directory, base().cache_root_directory]\n"
        "print(json.dumps({'same': before == after, 'folders': folders, 'local': started.is_local}))",
        SESSION_MEMORY_STATE_DIR=str(tmp_path),
    )
    assert found["same"]
    assert found["local"]
    assert all(folder.startswith(str(tmp_path)) for folder in found["folders"])
    assert not list((ROOT / ".venv").glob("lib/python*/site-packages/cognee/.cognee_system"))


def test_a_configured_llm_is_used_and_the_environment_wins_over_the_env_file(tmp_path):
    (tmp_path / ".env").write_text("LLM_API_KEY=from-the-file\nLLM_MODEL=openai/from-the-file\n")
    found = python(
        "import json, os\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "from session_memory import runtime\n"
        "from session_memory.settings import get_settings\n"
        "runtime.load(get_settings())\n"
        "from cognee.infrastructure.llm.config import get_llm_config as llm\n"
        "print(json.dumps([llm().llm_api_key, llm().llm_model, os.environ.get('EMBEDDING_PROVIDER')]))",
        SESSION_MEMORY_STATE_DIR=str(tmp_path),
        LLM_MODEL="openai/from-the-environment",
    )
    assert found == ["from-the-file", "openai/from-the-environment", None]


def test_without_an_llm_and_without_the_local_models_the_error_names_both_ways_out(tmp_path, monkeypatch):
    from session_memory import errors, runtime
    from session_memory.settings import Settings

    for key in [*double.ENVIRONMENT, "EMBEDDING_PROVIDER", "EMBEDDING_MODEL"]:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    with pytest.raises(errors.LocalModelsMissing, match=r"LLM_API_KEY.*\[local\]"):
        runtime._use_local_models(Settings(), HOME)
