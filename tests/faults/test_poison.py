"""One session of ten that the LLM refuses, night after night (I3)."""

import pytest

from session_memory.models import Outcome
from session_memory.settings import get_settings
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.mark.fault("one poisoned session of ten, three nights and two more")
@pytest.mark.long
async def test_three_nights_with_one_poisoned_session_of_ten(world, llm, count):
    good, bad = [new_session() for _ in range(9)], new_session()
    for session in good:
        await world.say(session)
    poison = await world.say(bad, question="What is Poison?")
    llm.refuse("Poison")
    tries = []
    for night in range(5):
        llm.calls.clear()
        report = await persist(world, *good, bad)
        if night == 0:
            assert outcomes(report) == {**dict.fromkeys(good, Outcome.PERSISTED), bad: Outcome.QUARANTINED}
        else:
            # Not the run's failure again, and nobody else's.
            assert report.failed_sessions == []
            assert outcomes(report)[good[0]] == Outcome.PERSISTED
        tries.append([title for title, text in llm.calls if "Poison" in text])
        await world.say(good[0])
    assert get_settings().quarantine_attempts == 3
    assert [bool(titles) for titles in tries] == [True, True, True, False, False], tries
    await persist(world, *good)
    assert await world.times("Poison") == (0, 0)
    # Only when asked, from here on.
    from session_memory.quarantine import release

    llm.heal()
    assert outcomes(await persist(world, bad)) == {bad: Outcome.NOTHING_NEW}
    await release(None, bad, str(world.dataset.id))
    assert outcomes(await persist(world, bad)) == {bad: Outcome.PERSISTED}
    assert poison in world.said
    await count(world)
