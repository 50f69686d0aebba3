"""The page that shows what a run added to the graph: true, private, and worth no failure."""

import json
import re
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from session_memory.models import Outcome
from session_memory.report import PersistReport
from session_memory.settings import get_settings
from tests.flows.test_privacy import assert_prefect_holds_no
from tests.running import outcomes, persist
from tests.world import new_session

pytestmark = pytest.mark.usefixtures("prefect_server")


def page_of(report: PersistReport) -> str:
    assert report.picture
    return Path(report.picture).read_text()


class Drawn:
    """What a page holds, read as its script does."""

    def __init__(self, report: PersistReport) -> None:
        data = json.loads(re.search(r'id="data">(.*?)</script>', page_of(report), re.DOTALL).group(1))
        self.nodes: list[dict[str, Any]] = data["nodes"]
        self.links: list[dict[str, Any]] = data["links"]

    def added(self, kind: str) -> dict[str, bool]:
        """The names of a kind, and whether the run added each."""
        return {node["name"]: node["added"] for node in self.nodes if node["kind"] == kind}

    def naming(self, entity: str) -> list[str]:
        """What names an entity."""
        links = [link for link in self.links if self.nodes[link["target"]]["name"] == entity and not link["name"]]
        return sorted(self.nodes[link["source"]]["name"] for link in links)

    def relations(self) -> dict[tuple[str, str, str], bool]:
        """Each relation, and whether the run added it."""
        ends = [(self.nodes[link["source"]]["name"], self.nodes[link["target"]]["name"], link) for link in self.links]
        return {(source, link["name"], target): link["added"] for source, target, link in ends if link["name"]}


def graph(*names: str, edges: tuple[tuple[str, str], ...] = (), **described: str) -> str:
    """What an LLM answers: entities, and who is beside whom."""
    return json.dumps(
        {
            "nodes": [
                {"id": name, "name": name, "type": "Thing", "description": described.get(name, "")} for name in names
            ],
            "edges": [
                {"source_node_id": source, "target_node_id": target, "relationship_name": "beside"}
                for source, target in edges
            ],
            # The same answer is given when a summary is asked for.
            "summary": " ".join(names),
            "description": "",
        }
    )


async def test_the_page_shows_the_sessions_their_turns_and_what_these_name(world, llm):
    session, other = new_session(), new_session()
    await world.say(session, "What is Everest?", "It is high.")
    await world.say(session, "Is Kailash near?", "It is far from Everest.")
    await world.say(other, "What is Denali?", "It is cold.")
    llm.answer("Everest", graph("Everest", "Kailash", "A range", edges=(("Everest", "Kailash"),)))
    llm.answer("Denali", graph("Denali"))
    report = await persist(world, session, other)
    drawn = Drawn(report)
    assert drawn.added("session") == {session: True, other: True}
    assert [node["name"] for node in drawn.nodes if node["kind"] == "turn"] == ["turn 1", "turn 2", "turn 1"]
    assert drawn.added("entity") == {"everest": True, "kailash": True, "a range": True, "denali": True}
    assert drawn.naming("everest") == ["turn 1", "turn 2"]
    assert drawn.naming("kailash") == ["turn 2"]
    # Its name stands in no turn: it hangs on the document it was taken from.
    assert drawn.naming("a range") == [next(node["name"] for node in drawn.nodes if node["kind"] == "document")]
    assert drawn.relations() == {("everest", "beside", "kailash"): True}
    assert {node["type"] for node in drawn.nodes if node["kind"] == "entity"} == {"thing"}


async def test_a_later_runs_page_highlights_only_what_that_run_added(world, llm):
    session = new_session()
    await world.say(session, "What is Everest?", "It is near Lhotse and Nuptse.")
    llm.answer("near Lhotse", graph("Everest", "Lhotse", "Nuptse", edges=(("Everest", "Lhotse"),)))
    await persist(world, session)
    await world.say(session, "What is Cho Oyu?", "It is beside Everest, which is beside Lhotse and Nuptse.")
    edges = (("Everest", "Lhotse"), ("Everest", "Nuptse"), ("Cho Oyu", "Everest"))
    llm.answer("Cho Oyu", graph("Cho Oyu", "Everest", "Lhotse", "Nuptse", edges=edges))
    report = await persist(world, session)
    drawn = Drawn(report)
    assert drawn.added("session") == {session: False}
    assert drawn.added("turn") == {"turn 2": True}
    assert drawn.added("entity") == {"cho oyu": True, "everest": False, "lhotse": False, "nuptse": False}
    assert drawn.relations() == {
        ("everest", "beside", "lhotse"): False,
        ("everest", "beside", "nuptse"): True,
        ("cho oyu", "beside", "everest"): True,
    }
    assert "added 1 entity, 2 relations and named 3 entities that were there before" in page_of(report)


async def test_what_an_edited_turn_named_before_was_there_before(world, llm):
    """Its old document is gone at the end of the run: looked at then, all of it would seem new."""
    session = new_session()
    qa_id = await world.say(session, "What is Everest?", "It is high.")
    await world.say(session, "What is Lhotse?", "It is near.")
    await persist(world, session)
    await world.edit(session, qa_id, "What is Everest beside Makalu?")
    drawn = Drawn(await persist(world, session))
    assert drawn.added("entity")["everest"] is False
    assert drawn.added("entity")["makalu"] is True
    assert drawn.added("session") == {session: False}
    assert drawn.added("turn") == {"turn 1": True, "turn 2": False}
    assert "takes the place of an earlier document" in str(drawn.nodes)


async def test_a_later_group_of_the_run_does_not_turn_what_it_added_into_what_was_there(world, llm, monkeypatch):
    settings = get_settings().model_copy(update={"windows_per_group": 1})
    monkeypatch.setattr("flows.persist_sessions.get_settings", lambda: settings)
    sessions = [new_session() for _ in range(3)]
    for session in sessions:
        await world.say(session, "What is Everest?", f"It is {session[-6:]}.")
    drawn = Drawn(await persist(world, *sessions))
    assert drawn.added("entity")["everest"] is True
    assert drawn.naming("everest") == ["turn 1"] * 3


async def test_nothing_new_leaves_no_picture(world):
    session = new_session()
    await world.say(session)
    assert (await persist(world, session)).picture
    assert (await persist(world, session)).picture is None
    assert (await persist(world, "unknown")).picture is None


async def test_a_refused_document_is_in_no_picture(world, llm):
    good, refused = new_session(), new_session()
    await world.say(good, "What is Everest?")
    await world.say(refused, "What is Poison?")
    llm.refuse("Poison")
    drawn = Drawn(await persist(world, good, refused))
    assert drawn.added("session") == {good: True}


async def test_the_page_holds_names_and_no_turn_and_prefect_holds_where_it_is_and_no_name(world, llm, all_logs):
    session, question = new_session(), "Who met Quuxelby in the harbour?"
    await world.say(session, question, "Quuxelby met Ada there.")
    described = {"Quuxelby": "  who met QUUXELBY in the harbour? ", "Ada": "A friend of Quuxelby."}
    llm.answer("Quuxelby", graph("Quuxelby", "Ada", **described))
    report = await persist(world, session)
    page = page_of(report)
    assert "quuxelby" in page
    # A description is shown; one that quotes the conversation is not.
    assert "A friend of Quuxelby." in page
    assert not re.search("in the harbour|met Ada", page, re.IGNORECASE)
    assert not [line for line in all_logs if "uuxelby" in line]
    await assert_prefect_holds_no("uuxelby")
    async with get_client() as client:
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[report.flow_run_id]))
        artifacts = await client.read_artifacts(artifact_filter=of_run)
    told = next(artifact.data for artifact in artifacts if artifact.type == "markdown")
    assert f"(file://{report.picture})" in told
    assert f"on {report.host}" in told
    assert report.asstr().splitlines()[-1] == f"What it added to the graph: {report.picture}"
    path = Path(report.picture)
    assert path.parent == get_settings().state_path / "pictures"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


async def test_an_entity_called_script_is_a_name(world, llm):
    session = new_session()
    await world.say(session, "What is a Tag?")
    llm.answer("Tag", graph("<script>alert(1)</script>", "</script>"))
    report = await persist(world, session)
    assert Drawn(report).added("entity").keys() == {"<script>alert(1)</script>", "</script>"}
    assert page_of(report).count("<script") == 2


async def test_only_the_newest_are_kept_and_0_keeps_none(world, monkeypatch, tmp_path):
    session = new_session()
    found = []
    for keep in (2, 2, 2, 0):
        settings = get_settings().model_copy(update={"pictures": keep, "state_dir": tmp_path})
        monkeypatch.setattr("flows.persist_sessions.get_settings", lambda settings=settings: settings)
        await world.say(session)
        report = await persist(world, session)
        assert bool(report.picture) is bool(keep)
        found.append(len(list((tmp_path / "pictures").iterdir())))
    assert found == [1, 2, 2, 0]


SECRET = "Zanzibarsketch"


async def fails(*args: object, **kwargs: object) -> None:
    raise RuntimeError(SECRET)


def fails_at_once(*args: object, **kwargs: object) -> None:
    raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("where", "instead"),
    [
        ("session_memory.picture.page.render", fails_at_once),
        ("session_memory.picture.folder.keep", fails_at_once),
        ("session_memory.picture.drawing.ledger", SimpleNamespace(sessions_in=fails)),
    ],
)
async def test_a_picture_that_cannot_be_drawn_fails_nothing(world, monkeypatch, all_logs, where, instead):
    monkeypatch.setattr(where, instead)
    session = new_session()
    await world.say(session)
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.PERSISTED}
    assert report.picture is None
    assert [line for line in all_logs if "picture of this run could not be drawn" in line]
    assert not [line for line in all_logs if SECRET in line]


async def test_a_graph_that_cannot_be_read_leaves_a_picture_that_says_so(world, monkeypatch, all_logs):
    monkeypatch.setattr("session_memory.picture.additions.get_graph_engine", fails)
    session = new_session()
    await world.say(session)
    report = await persist(world, session)
    assert outcomes(report) == {session: Outcome.PERSISTED}
    assert "could not be read back" in page_of(report)
    assert Drawn(report).added("turn") == {"turn 1": True}
    assert [line for line in all_logs if "Not everything that this run stored" in line]
    assert not [line for line in all_logs if SECRET in line]
