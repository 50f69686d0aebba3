"""Writes that are joined: each is done when its call returns, each fails alone."""

import asyncio

import pytest

from session_memory.joining import Gate, Joined


class Store:
    """Keeps what is written, refuses what says so, and writes only while it is open."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.cancelled = 0

    async def write(self, items: list[str]) -> None:
        try:
            await self.open.wait()
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            self.cancelled += 1
            raise
        if "bad" in items:
            raise ValueError("bad")
        self.writes.append(list(items))


async def test_what_arrives_during_a_write_is_written_together():
    store = Store()
    joined = Joined(store.write, limit=10)
    first = asyncio.gather(joined(["0"]), joined(["1"]))
    await asyncio.sleep(0.025)
    await asyncio.gather(first, *(joined([str(number)]) for number in (2, 3, 4)))
    assert store.writes == [["0", "1"], ["2", "3", "4"]]
    await joined(["later"])
    assert store.writes[-1] == ["later"]


async def test_a_write_takes_so_many_and_divides_no_call():
    store = Store()
    joined = Joined(store.write, limit=3)
    await asyncio.gather(joined(["0"]), joined(["1", "2"]), joined(["3", "4", "5", "6"]), joined(["7"]))
    assert store.writes == [["0", "1", "2"], ["3", "4", "5", "6"], ["7"]]


async def test_one_that_cannot_be_written_fails_alone():
    store = Store()
    joined = Joined(store.write, limit=10)
    ends = await asyncio.gather(*(joined([item]) for item in ("0", "1", "bad", "3")), return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), type(None), ValueError, type(None)]
    assert sorted(item for items in store.writes for item in items) == ["0", "1", "3"]
    await joined(["later"])


@pytest.mark.parametrize("left", [0, 1])
async def test_who_is_cancelled_waits_until_nothing_of_it_is_written_any_more(left: int):
    store = Store()
    joined = Joined(store.write, limit=10, pause_seconds=0)
    store.open.clear()
    calls = [asyncio.create_task(joined(["0"]))]
    await asyncio.sleep(0.01)
    calls += [asyncio.create_task(joined([str(number)])) for number in (1, 2)]
    await asyncio.sleep(0.01)
    # The first is being written, the others wait; `left` of those are not cancelled.
    for call in calls[: 3 - left]:
        call.cancel()
    await asyncio.wait(calls[: 3 - left])
    assert all(call.cancelled() for call in calls[: 3 - left])
    assert store.cancelled == 1, "nobody waited for the first write any more"
    store.open.set()
    await asyncio.gather(*calls[3 - left :])
    assert store.writes == [["2"]] * left
    await joined(["later"])
    assert store.writes[-1] == ["later"]


async def test_a_write_that_somebody_still_waits_for_is_finished():
    store = Store()
    joined = Joined(store.write, limit=10, pause_seconds=0)
    store.open.clear()
    together = [asyncio.create_task(joined([item])) for item in ("1", "2")]
    await asyncio.sleep(0.01)
    together[0].cancel()
    await asyncio.sleep(0.01)
    assert not together[0].done(), "it is still being written"
    store.open.set()
    await asyncio.wait(together)
    assert together[0].cancelled()
    assert store.writes == [["1", "2"]]
    assert store.cancelled == 0


async def test_a_gate_opens_when_all_are_there_or_nobody_came_for_a_while():
    gate = Gate(3, quiet_seconds=0.1)
    early = [asyncio.create_task(gate.arrive()) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert not any(one.done() for one in early)
    await asyncio.sleep(0.1)
    assert all(one.done() for one in early)
    async with asyncio.timeout(0.05):
        await gate.arrive()


async def test_a_gate_opens_at_once_for_the_last():
    gate = Gate(3, quiet_seconds=60)
    async with asyncio.timeout(1):
        await asyncio.gather(*(gate.arrive() for _ in range(3)))
