"""kill -9 at every step of the write path: after the next run, every turn is there once (I1, I5, I6)."""

import signal

import pytest

from session_memory import fault_points
from session_memory.models import Outcome
from tests.faults import processes
from tests.running import outcomes, persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server")

#: Steps that a run without an edit passes.
STEPS = [point for point in fault_points.POINTS if point not in {"before-remove", "removed"}]
#: Before, within and after what is written; the others are left to `make faults`.
QUICK = {"frozen", "added", "cognified"}
#: LLM calls that a group of two documents of one chunk costs.
CALLS_A_GROUP = 4

#: What happens to the cache between the kill and the next run.
CACHES = ["same", *(pytest.param(cache, marks=pytest.mark.long) for cache in ("new turn", "deleted turn"))]


async def change(world: World, session: str, cache: str, *, frozen: bool) -> None:
    """Let the cache be another one when the next run comes."""
    if cache == "new turn":
        await world.say(session)
    if cache == "deleted turn":
        qa_id = (await world.cached(session))[0]
        await world.delete(session, qa_id)
        if not frozen:
            # Gone before anybody had read it.
            del world.said[qa_id]


async def kill(world: World, *sessions: str, at: str, **extra: str) -> None:
    killed = await processes.run(world, *sessions, **{fault_points.VARIABLE: f"{at}=kill", **extra})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]


@pytest.mark.fault("kill -9")
@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(
    "point", [pytest.param(step, marks=[] if step in QUICK else pytest.mark.long) for step in STEPS]
)
async def test_after_a_kill_the_next_run_has_every_turn_once(world, llm, count, tmp_path, point, cache):
    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
        await world.say(session)
    log = tmp_path / "calls"
    await kill(world, *sessions, at=point, **{processes.LOG: str(log)})
    await change(world, sessions[0], cache, frozen=point != "before-freeze")
    llm.calls.clear()
    report = await persist(world, *sessions)
    assert set(outcomes(report).values()) <= {Outcome.PERSISTED, Outcome.NOTHING_NEW}
    await count(world)
    # At most one redundant group; a new turn is a document of its own.
    allowed = 2 * CALLS_A_GROUP + (2 if cache == "new turn" else 0)
    assert processes.calls_in(log) + len(llm.calls) <= allowed
    llm.calls.clear()
    assert set(outcomes(await persist(world, *sessions)).values()) == {Outcome.NOTHING_NEW}
    assert llm.calls == []


@pytest.mark.fault("kill -9 while an edit replaces a document")
@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(
    "point", ["frozen", *(pytest.param(p, marks=pytest.mark.long) for p in ("added", "before-remove", "removed"))]
)
async def test_after_a_kill_while_an_edit_replaces_a_document_the_old_text_is_gone(world, llm, count, point, cache):
    session = new_session()
    await world.say(session)
    edited = await world.say(session)
    old = world.said[edited]
    await persist(world, session)
    await world.edit(session, edited)
    await kill(world, session, at=point)
    await change(world, session, cache, frozen=True)
    await persist(world, session)
    await count(world)
    assert await world.times(old) == (0, 0)
    assert len(await world.documents()) == (2 if cache == "new turn" else 1)


@pytest.mark.fault("kill -9, then the session expires")
async def test_what_was_frozen_is_stored_even_when_the_cache_expired_after_the_kill(world, llm, count):
    session = new_session()
    await world.say(session)
    await kill(world, session, at="added")
    await world.expire(session)
    assert outcomes(await persist(world, session)) == {session: Outcome.PERSISTED}
    await count(world)


@pytest.mark.fault("kill -9 in the middle of LLM calls")
async def test_a_killed_writers_run_is_rolled_back_and_closed(world, llm, count):
    """cognee itself recovers such runs only in its API server, an hour later."""
    from cognee.modules.pipelines.methods import get_unterminated_pipeline_runs

    async def unterminated() -> list[str]:
        runs = await get_unterminated_pipeline_runs()
        return [run.pipeline_name for run in runs if run.dataset_id == world.dataset.id]

    sessions = [new_session(), new_session()]
    for session in sessions:
        await world.say(session)
    killed = await processes.run(world, *sessions, **{processes.KILL: "3"})
    assert killed.returncode == -signal.SIGKILL, killed.output[-2000:]
    assert await unterminated() == ["cognify_pipeline"]
    await persist(world, *sessions)
    assert await unterminated() == []
    await count(world)
