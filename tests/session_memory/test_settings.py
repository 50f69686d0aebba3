"""What can be set, and where it is written down."""

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from session_memory import settings as module
from session_memory.settings import Settings, load_env_file

ROOT = Path(__file__).parents[2]


def test_every_key_stands_in_the_example_with_its_default():
    lines = (ROOT / ".env.example").read_text().splitlines()
    found = dict(match.groups() for line in lines if (match := re.match(r"#\s?SESSION_MEMORY_(\w+)=(\S*)", line)))
    defaults = {
        name.upper(): "" if field.default == () else str(field.default) for name, field in Settings.model_fields.items()
    }
    assert {name: value.lower() for name, value in found.items()} == {
        name: value.lower() for name, value in defaults.items()
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("TURNS_PER_WINDOW", "0"),
        ("WINDOWS_PER_GROUP", "101"),
        ("LOCAL_MODELS", "maybe"),
        ("REDACT", "a.module.function"),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_its_name(monkeypatch, key, value):
    monkeypatch.setenv(f"SESSION_MEMORY_{key}", value)
    with pytest.raises(ValidationError, match=key.lower()):
        Settings()


def test_a_tasks_timeout_is_above_the_llms_own_budget_and_its_commits():
    settings = Settings(llm_retry_seconds=240)
    assert settings.cognify_timeout_seconds > settings.commit_timeout_seconds > 2 * 240


def test_where_a_worker_has_no_env_file_the_projects_own_counts_and_the_environment_wins(monkeypatch, tmp_path):
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (project / ".env").write_text("FROM_FILE=project\nSET_BEFORE=file\n")
    monkeypatch.setattr(module, "_PROJECT", project)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("SET_BEFORE", "environment")
    monkeypatch.setenv("FROM_FILE", "to be put back")
    monkeypatch.delenv("FROM_FILE")
    load_env_file()
    assert (os.environ["FROM_FILE"], os.environ["SET_BEFORE"]) == ("project", "environment")
    monkeypatch.delenv("FROM_FILE")
    (elsewhere / ".env").write_text("FROM_FILE=elsewhere\n")
    load_env_file()
    assert os.environ["FROM_FILE"] == "elsewhere"
    monkeypatch.delenv("FROM_FILE")
