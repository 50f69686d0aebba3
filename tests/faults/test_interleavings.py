"""Any interleaving of what can happen to sessions and runs, against a plain model (I1, I2, I6)."""

import asyncio
import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import cognee
import hypothesis
import pytest
import pytest_asyncio
from cognee.infrastructure.files.utils.open_data_file import open_data_file
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from session_memory import fault_points
from session_memory.models import Outcome
from tests.faults import processes
from tests.running import outcomes, persist
from tests.world import World, new_session

pytestmark = pytest.mark.usefixtures("prefect_server", "llm")

#: Steps altogether, and in how many parts; `make interleavings` asks for ten thousand.
STEPS = int(os.environ.get("INTERLEAVING_STEPS", "200"))
PARTS = int(os.environ.get("INTERLEAVING_PARTS", "2"))
STEPS_AN_EXAMPLE = 25
#: The same interleavings every time, unless another is named.
SEED = os.environ.get("INTERLEAVING_SEED", "1")


@dataclass
class Dataset:
    """What one dataset should hold."""

    world: World
    #: The text of each turn that was extracted for it, by session and turn.
    intended: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Turns that cognee's own path had stored before we met them.
    foreign: dict[tuple[str, str], str] = field(default_factory=dict)
    #: The documents that cognee's own path wrote, and how often they hold a text.
    foreign_documents: set[UUID] = field(default_factory=set)
    foreign_texts: Counter[str] = field(default_factory=Counter)

    def extracted(self, session: str, turns: dict[str, str]) -> None:
        """Every turn of the cache is held from now on, in the words it has now."""
        for qa_id, text in turns.items():
            key = (session, qa_id)
            if self.foreign.get(key) == text:
                continue
            if key not in self.intended and self.foreign_texts[text]:
                self.foreign[key] = text
            else:
                self.intended[key] = text

    def has_new(self, session: str, turns: dict[str, str]) -> bool:
        """Whether a turn is still to be written by us."""
        return any(
            text != self.intended.get((session, qa_id)) and not self.foreign_texts[text]
            for qa_id, text in turns.items()
        )


class Interleavings(RuleBasedStateMachine):
    """Two sessions, two datasets, and everything that can happen to them.

    The cheap things come twice, so that a step costs a second on average.
    """

    loop: asyncio.AbstractEventLoop
    steps = 0
    counted: Counter[str]

    @initialize()
    def start(self) -> None:
        self.sessions = [new_session(), new_session()]
        #: What the cache holds, by session and turn.
        self.cache: dict[str, dict[str, str]] = {session: {} for session in self.sessions}
        self.datasets = [Dataset(self.run(World.new())) for _ in range(2)]
        self.worth_a_run = [False, False]

    def run(self, work):
        return self.loop.run_until_complete(work)

    def touched(self) -> None:
        type(self).steps += 1
        self.worth_a_run = [True, True]

    @property
    def world(self) -> World:
        return self.datasets[0].world

    @rule(which=st.integers(0, 1), turns=st.integers(1, 2))
    def add(self, which: int, turns: int) -> None:
        self.touched()
        session = self.sessions[which]
        for _ in range(turns):
            qa_id = self.run(self.world.say(session))
            self.cache[session][qa_id] = self.world.said[qa_id]

    @rule(which=st.integers(0, 1))
    def add_one(self, which: int) -> None:
        self.add(which, 1)

    def _a_turn(self, data: st.DataObject) -> tuple[str, str]:
        return data.draw(
            st.sampled_from([(session, qa_id) for session in self.sessions for qa_id in self.cache[session]])
        )

    @precondition(lambda self: any(self.cache.values()))
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        self.touched()
        session, qa_id = self._a_turn(data)
        self.cache[session][qa_id] = self.run(self.world.edit(session, qa_id))

    @precondition(lambda self: any(self.cache.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.touched()
        session, qa_id = self._a_turn(data)
        self.run(self.world.delete(session, qa_id))
        del self.cache[session][qa_id]

    @precondition(lambda self: any(self.cache.values()))
    @rule(data=st.data())
    def edit_again(self, data: st.DataObject) -> None:
        self.edit(data)

    @precondition(lambda self: any(self.cache.values()))
    @rule(which=st.integers(0, 1))
    def expire(self, which: int) -> None:
        self.touched()
        self.run(self.world.expire(self.sessions[which]))
        self.cache[self.sessions[which]].clear()

    @precondition(lambda self: any(self.worth_a_run))
    @rule(data=st.data())
    def persist(self, data: st.DataObject) -> None:
        which = self._a_dataset(data)
        self.worth_a_run[which] = False
        self._persist(self.datasets[which])

    @precondition(lambda self: any(self.worth_a_run))
    @rule(data=st.data(), session=st.integers(0, 1), point=st.sampled_from(fault_points.POINTS))
    def crash(self, data: st.DataObject, session: int, point: str) -> None:
        type(self).steps += 1
        dataset, name = self.datasets[self._a_dataset(data)], self.sessions[session]
        has_new = dataset.has_new(name, self.cache[name])
        ended = self.run(processes.run(dataset.world, name, **{fault_points.VARIABLE: f"{point}=kill"}))
        assert ended.returncode in {0, 1, -signal.SIGKILL}, ended.output[-2000:]
        if ended.returncode != -signal.SIGKILL:
            # It never came to that point; 1: there is no such session.
            assert ended.returncode == 0 or not (self.cache[name] or self._held(dataset, name)), ended.output[-2000:]
            assert not has_new or point in {"before-remove", "removed"}
        if point != "before-freeze" or ended.returncode == 0:
            dataset.extracted(name, self.cache[name])

    @precondition(lambda self: any(self.cache.values()))
    @rule(which=st.integers(0, 1), session=st.integers(0, 1))
    def improve(self, which: int, session: int) -> None:
        type(self).steps += 1
        dataset = self.datasets[which]
        before = set(self.run(self._texts(dataset)))
        self.run(
            cognee.improve(
                dataset=dataset.world.dataset.name, session_ids=[self.sessions[session]], user=dataset.world.user
            )
        )
        self.run(dataset.world.close_graph())
        texts = self.run(self._texts(dataset))
        # cognee cognifies whatever it finds, so that what a killed run had added is finished too: ours has its times.
        new = {data_id for data_id in set(texts) - before if "Time: " not in texts[data_id]}
        for data_id in new:
            dataset.foreign_texts.update(text for text in self._all_texts(dataset) if text in texts[data_id])
        dataset.foreign_documents |= new
        self.worth_a_run = [True, True]

    def _a_dataset(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from([which for which in (0, 1) if self.worth_a_run[which]]))

    def _held(self, dataset: Dataset, session: str) -> bool:
        return any(held == session for held, _ in [*dataset.intended, *dataset.foreign])

    def _all_texts(self, dataset: Dataset) -> set[str]:
        cached = {text for turns in self.cache.values() for text in turns.values()}
        return cached | set(dataset.intended.values()) | set(dataset.foreign.values())

    def _persist(self, dataset: Dataset) -> None:
        type(self).steps += 1
        report = self.run(persist(dataset.world, *self.sessions))
        for session in self.sessions:
            dataset.extracted(session, self.cache[session])
            known = bool(self.cache[session]) or self._held(dataset, session)
            expected = {Outcome.PERSISTED, Outcome.NOTHING_NEW} if known else {Outcome.NOT_FOUND}
            assert outcomes(report)[session] in expected, report.asstr()
        texts = self.run(self._texts(dataset))
        ours = [text for data_id, text in texts.items() if data_id not in dataset.foreign_documents]
        chunks = self.run(dataset.world.chunk_texts())
        for text in dataset.intended.values():
            by_us = sum(document.count(text) for document in ours)
            by_cognee = dataset.foreign_texts[text]
            # Once; what cognee's own path says once more is its own, and makes ours needless.
            counts = {"turns written": 1, "lost": not by_us and not by_cognee, "twice": by_us > 1}
            self.counted.update(counts)
            assert not counts["lost"], text
            assert not counts["twice"], text
            assert sum(chunk.count(text) for chunk in chunks) == by_us + by_cognee
        words = Counter(word for document in ours for word in document.split() if word.startswith(("Marker", "Edited")))
        wanted = {text.removeprefix("What is ") for text in dataset.intended.values()}
        # Nothing else of ours: no old words of an edit, nothing that was only in the cache of another time.
        assert {word for word in words if word.endswith("?")} <= wanted

    async def _texts(self, dataset: Dataset) -> dict[UUID, str]:
        texts = {}
        for row in await dataset.world.documents():
            async with open_data_file(row.raw_data_location, mode="r", encoding="utf-8") as file:
                texts[row.id] = file.read()
        return texts

    def teardown(self) -> None:
        # I6: whatever state a run left off in, the next one brings everything that was extracted.
        for dataset in getattr(self, "datasets", []):
            if any(self.cache.values()) or dataset.intended:
                self._persist(dataset)


@pytest_asyncio.fixture(loop_scope="session")
async def loop() -> asyncio.AbstractEventLoop:
    """The loop that cognee's engines are bound to."""
    return asyncio.get_running_loop()


@pytest.mark.fault("any interleaving")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_interleaving_keeps_every_turn_once(loop, part, record_property):
    wanted = STEPS // PARTS

    class Part(Interleavings):
        steps = 0

    Part.loop, Part.counted = loop, Counter({"turns written": 0, "lost": 0, "twice": 0})
    while Part.steps < wanted:
        run_state_machine_as_test(
            hypothesis.seed(f"{SEED}-{part}-{Part.steps}")(Part),
            settings=settings(
                max_examples=min(100, -(-(wanted - Part.steps) // STEPS_AN_EXAMPLE)),
                stateful_step_count=STEPS_AN_EXAMPLE,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                # Shrinking runs hundreds of examples more; the steps of the failing one are printed as they are.
                phases=[Phase.explicit, Phase.generate],
            ),
        )
    record_property("row", {"point": f"{Part.steps} steps"})
    record_property("counted", dict(Part.counted))
