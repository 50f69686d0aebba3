"""What `session-memory plan` says, against what a run then does."""

import pytest

from session_memory.forecast import Forecast, SessionForecast, forecast
from session_memory.settings import get_settings
from tests import double
from tests.running import persist
from tests.world import World, all_rows, expire_in, new_session

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")


async def forecast_of(world: World, *sessions: str) -> Forecast:
    return await forecast([world.user.email], [str(world.dataset.id)], list(sessions) or None, get_settings())


async def test_it_says_what_the_next_run_does_and_writes_nothing(llm):
    world = await World.own()
    short, long, done = (new_session() for _ in range(3))
    await world.say(done)
    await persist(world, done)
    qa_id = await world.say(short)
    for _ in range(get_settings().turns_per_window + 3):
        await world.say(long)
    # Longer than a chunk: its document is cut, and every piece asked about.
    await world.say(long, question="word " * 1_000)
    llm.calls.clear()
    before = await all_rows()
    told = await forecast_of(world)
    assert await all_rows() == before
    assert llm.calls == []
    assert {one.session_id for one in told.sessions} == {short, long}
    report = await persist(world, short, long)
    assert sum(one.turns for one in told.sessions) == report.turns_persisted == 25
    assert told.llm_calls == report.llm_calls == len(llm.calls) > 2 * sum(one.windows for one in told.sessions)
    assert (await forecast_of(world)).sessions == ()
    await world.edit(short, qa_id)
    assert [(one.session_id, one.turns) for one in (await forecast_of(world)).sessions] == [(short, 1)]


async def test_what_is_frozen_counts_and_the_soonest_to_expire_comes_first(llm):
    world = await World.own()
    frozen, soon, later = (new_session() for _ in range(3))
    await world.say(frozen)
    llm.fail("Marker", double.broken)
    await persist(world, frozen)
    llm.reset()
    await world.expire(frozen)
    for session, minutes in ((later, 600), (soon, 60)):
        await world.say(session)
        await expire_in(world, session, minutes)
    told = await forecast_of(world)
    assert [row[0] for row in told.rows()] == [soon, later, frozen]
    assert told.rows()[-1][-1] == ""
    assert f"{soon} of {world.user.email} into main_dataset: 1 turn in 1 document, expires in" in told.asstr()


@pytest.mark.parametrize(
    ("price", "told"),
    [(None, "no price known"), ((1e-6, 4e-6), "under 1 cent"), ((1e-3, 0.0), "about 2.20 US dollars")],
)
def test_the_cost_is_two_calls_a_chunk_or_said_to_be_unknown(price, told):
    one = SessionForecast(user="ada", dataset="main_dataset", session_id="a", turns=3, windows=1, chunks=1, tokens=600)
    report = Forecast(sessions=(one,), model="m", prompt_tokens=1000, price=price)
    assert (report.llm_calls, report.tokens_in, report.tokens_out) == (2, 2200, 1200)
    assert told in report.summary()[-1]
