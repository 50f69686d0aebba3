"""What the doctor sees of cognee's side, in the real stores of the tests, well and ill."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cognee.base_config import get_base_config
from cognee.infrastructure.databases.cache.config import get_cache_config
from cognee.modules.improve.config import get_improve_config
from sqlalchemy.ext.asyncio import create_async_engine

from session_memory import doctor
from session_memory.diagnosis import Diagnosis, Level
from session_memory.settings import get_settings
from tests.world import World, new_session, new_user

pytestmark = pytest.mark.usefixtures("llm")


async def examined(
    world: World,
    *,
    user: str | None = None,
    dataset: str | None = None,
    hosts: tuple[str, ...] = ("here",),
    longest_wait: timedelta | None = timedelta(days=1),
    ask_models: bool = False,
) -> Diagnosis:
    found = await doctor.examine(
        user, dataset or str(world.dataset.id), hosts=set(hosts), longest_wait=longest_wait, ask_models=ask_models
    )
    return Diagnosis(findings=tuple(found))


def problems(diagnosis: Diagnosis) -> dict[str, str]:
    """What has to be mended, and how."""
    return {one.name: one.advice or "" for one in diagnosis.findings if one.level is Level.PROBLEM}


async def test_a_machine_in_order_has_no_problem(world):
    await world.say(new_session())
    diagnosis = await examined(world, ask_models=True)
    assert problems(diagnosis) == {}
    told = {one.name: one.detail for one in diagnosis.findings if one.level is Level.OK}
    assert "session" in told["session cache"]
    assert told["permission"].endswith(f"may write to {world.dataset.name}")
    assert told["embeddings"].endswith("384 numbers a vector")
    assert told["expiry"] == "a session lives 7 days, and it is up to a day between two runs"
    assert {"ledger", "lock", "graph", "vectors", "LLM", "version", "folder"} <= told.keys()


async def test_several_machines_on_the_files_of_one_are_refused(world):
    diagnosis = await examined(world, hosts=("here", "there"))
    found = problems(diagnosis)
    assert found.keys() == {"ledger", "session cache", "graph", "vectors"}
    assert "DB_PROVIDER=postgres" in found["ledger"]
    assert "documents" in {one.name for one in diagnosis.findings if one.level is Level.WARNING}


async def test_one_graph_for_everybody_is_a_problem(world, monkeypatch):
    monkeypatch.setenv("ENABLE_BACKEND_ACCESS_CONTROL", "false")
    assert "Set ENABLE_BACKEND_ACCESS_CONTROL=true" in problems(await examined(world))["access control"]


async def test_a_session_that_expires_before_the_next_run_is_a_problem(world, monkeypatch):
    monkeypatch.setattr(get_cache_config(), "session_ttl_seconds", 3600)
    assert "Raise SESSION_TTL_SECONDS" in problems(await examined(world))["expiry"]


async def test_agents_that_keep_no_sessions_are_a_problem(world, monkeypatch):
    monkeypatch.setattr(get_cache_config(), "caching", False)
    assert "Set CACHING=true" in problems(await examined(world))["session cache"]


async def test_data_inside_site_packages_is_a_problem(world, monkeypatch):
    monkeypatch.setattr(get_base_config(), "data_root_directory", str(Path(pytest.__file__).parents[1] / "data"))
    assert "set DATA_ROOT_DIRECTORY" in problems(await examined(world))["folder"]


async def test_cognees_own_path_is_told_of_where_it_is_on(world, monkeypatch):
    for on, level in ((True, Level.WARNING), (False, Level.OK)):
        monkeypatch.setattr(get_improve_config(), "auto_enabled", on)
        (finding,) = [one for one in (await examined(world)).findings if one.name == "cognee's own path"]
        assert finding.level is level


async def test_a_redaction_is_looked_for_and_cognees_own_path_beside_it_told_of(world, monkeypatch):
    monkeypatch.setattr(get_improve_config(), "auto_enabled", True)
    for hook, level, advice in [
        ("", Level.OK, "is recognised"),
        ("session_memory.redaction:mask", Level.OK, "SESSION_MEMORY_REDACT is for what goes this way"),
        ("no_such_package:mask", Level.PROBLEM, "SESSION_MEMORY_REDACT is for what goes this way"),
    ]:
        settings = get_settings().model_copy(update={"redact": hook})
        monkeypatch.setattr(doctor, "get_settings", lambda settings=settings: settings)
        found = {one.name: one for one in (await examined(world)).findings}
        assert found["redaction"].level is level
        assert advice in found["cognee's own path"].advice


async def test_what_does_not_answer_is_named_without_its_password(world, monkeypatch):
    engine = create_async_engine("postgresql+asyncpg://cognee:secret@127.0.0.1:9/cognee")
    monkeypatch.setattr(doctor, "get_relational_engine", lambda: SimpleNamespace(engine=engine))
    diagnosis = await examined(world)
    assert problems(diagnosis).keys() == {"ledger"}
    assert "127.0.0.1:9" in diagnosis.asstr()
    assert "secret" not in diagnosis.model_dump_json()


async def test_a_user_who_may_not_write_is_told_so_unless_a_service_account_may(world, monkeypatch):
    other = await new_user()
    found = problems(await examined(world, user=str(other.id)))
    assert other.email in found["permission"]
    settings = get_settings().model_copy(update={"service_accounts": ("default_user@example.com",)})
    monkeypatch.setattr(doctor, "get_settings", lambda: settings)
    assert problems(await examined(world, user=str(other.id))) == {}
    diagnosis = await examined(world, dataset="no such dataset")
    assert diagnosis.findings[-1].level is Level.WARNING
