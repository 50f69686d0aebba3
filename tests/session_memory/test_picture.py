"""What a page shows of a run, what it says it leaves out, and where it is kept."""

import json
import re
import stat
import uuid
from datetime import UTC, datetime
from html import unescape
from itertools import combinations, pairwise

import pytest

from session_memory.holdings import HeldSession, HeldWindow
from session_memory.ledger_schema import State
from session_memory.models import Receipt, TurnRef
from session_memory.picture import folder, page
from session_memory.picture.additions import Additions, Entity, StoredDocument
from session_memory.picture.composing import compose
from session_memory.picture.layout import arrange
from session_memory.picture.picture import Kind, Picture

HEADING = page.Heading(
    dataset="d", run="amber-fox", url="http://page/runs/1", at=datetime(2026, 11, 22, 14, 3, tzinfo=UTC)
)


def turn(number: int) -> TurnRef:
    return TurnRef(qa_id=f"qa-{number}", hash="h", time=f"2026-11-22T14:{number:02}:00+00:00", span=(0, 1))


def additions(sessions: int = 1, turns: int = 2, entities: int = 3) -> Additions:
    """Sessions of one document each, whose entities are each named by its first turn and related one to the next."""
    made = Additions()
    for one in range(sessions):
        document = StoredDocument(
            data_id=uuid.uuid4(), session_id=f"chat-{one}", turns=tuple(map(turn, range(1, turns + 1))), replaces=None
        )
        made.documents[document.data_id] = document
        names = [f"entity-{one}-{number}" for number in range(entities)]
        for name in names:
            made.entities[name] = Entity(
                name=name,
                description=f"About {name}.",
                added=True,
                type="thing",
                documents={document.data_id},
                turns={(document.data_id, "qa-1")},
            )
        made.relations |= dict.fromkeys([(left, right, "beside") for left, right in pairwise(names)], True)
    made.types = {"thing": True}
    return made


def drawn(made: Additions, *, limit: int = 500, held: dict[str, HeldSession] | None = None, stored: int = 0) -> Picture:
    receipts = [Receipt(data_id=uuid.uuid4(), session_id="chat-0", turns=stored)]
    return compose(made, held or {}, receipts, limit=limit)


def names(picture: Picture, kind: Kind) -> list[str]:
    return [node.name for node in picture.nodes if node.kind is kind]


def test_a_session_is_followed_by_its_documents_turns_and_what_they_name():
    picture = drawn(additions())
    kinds = [node.kind.value for node in picture.nodes]
    assert kinds == ["session", "document", "turn", "turn", "entity", "entity", "entity"]
    assert [(node.name, node.note) for node in picture.nodes[2:4]] == [
        ("turn 1", "2026-11-22 14:01"),
        ("turn 2", "2026-11-22 14:02"),
    ]
    said = {(link.source, link.target) for link in picture.links if not link.name}
    assert said == {(2, 4), (2, 5), (2, 6)}
    assert [link.name for link in picture.links if link.name] == ["beside", "beside"]
    assert picture.summary == "2 turns of 1 session added 3 entities, 1 type of entity and 2 relations."
    assert picture.left_out == ()


def test_an_entity_whose_name_stands_in_no_turn_hangs_on_its_document():
    made = additions(entities=1)
    made.entities["entity-0-0"].turns = set()
    assert [(link.source, link.target) for link in drawn(made).links] == [(1, 4)]


def test_a_turn_keeps_the_number_it_has_in_its_session_and_the_session_was_there_before():
    made = additions(turns=1)
    earlier = HeldWindow(
        data_id=uuid.uuid4(), session_id="chat-0", state=State.PLANNED, text=None, turns=(turn(0),), node_set=(),
        replaces=None, attempts=0, error_code=None, written=True, complete=True, seen_complete=True,
    )  # fmt: skip
    picture = drawn(made, held={"chat-0": HeldSession(windows={earlier.data_id: earlier}, turns={})})
    assert names(picture, Kind.TURN) == ["turn 2"]
    assert not picture.nodes[0].added


def test_a_cut_says_exactly_what_it_leaves_out():
    made = additions(sessions=10, turns=4, entities=5)
    picture = drawn(made, limit=50)
    assert len(picture.nodes) == 50
    shown = {kind: len(names(picture, kind)) for kind in Kind}
    # Whole documents: six nodes each, of the 30 that conversations may take.
    assert shown == {Kind.SESSION: 5, Kind.DOCUMENT: 5, Kind.TURN: 20, Kind.ENTITY: 20}
    related = sum(bool(link.name) for link in picture.links)
    assert picture.left_out == (
        "Showing 50 of 110 nodes: 5 of 10 sessions, 5 of 10 documents, 20 of 40 turns and 20 of 50 entities, the most "
        f"connected first; {related} of 40 relations.",
    )
    assert "added 50 entities" in picture.summary
    # Those at the ends of a chain have a line less.
    assert all(re.search(r"-[1-3]$", name) for name in names(picture, Kind.ENTITY)[:15])
    assert picture.summary in unescape(page.render(picture, HEADING))
    assert picture.left_out[0] in unescape(page.render(picture, HEADING))


def test_what_was_not_looked_at_or_stored_elsewhere_is_told():
    made = additions(turns=2)
    made.unread = {uuid.uuid4(): 1, uuid.uuid4(): 1, uuid.uuid4(): 2}
    made.texts, made.failure = 2, "TimeoutError at additions.py:1"
    told = " ".join(drawn(made, stored=7).left_out)
    assert "3 more documents of this run, with 4 turns, were not looked at" in told
    assert "1 more turn of its report" in told
    assert "could not be read back" in told
    assert "2 chunks and summaries, which hold the text: not drawn." in told


@pytest.mark.parametrize(("sessions", "turns", "entities"), [(1, 1, 0), (1, 1, 1), (1, 20, 40), (12, 5, 9), (40, 5, 7)])
def test_nothing_stands_on_anything_else(sessions, turns, entities):
    picture = drawn(additions(sessions, turns, entities))
    layout = arrange(picture)
    assert layout.boxes.keys() == set(range(len(picture.nodes)))
    boxes = [box for at, box in layout.boxes.items() if picture.nodes[at].kind is not Kind.DOCUMENT]
    for one, other in combinations(boxes, 2):
        apart = (
            one.x + one.width <= other.x
            or other.x + other.width <= one.x
            or one.y + one.height <= other.y + 0.01
            or other.y + other.height <= one.y + 0.01
        )
        assert apart, (one, other)
    assert all(box.x >= 0 and box.x + box.width <= layout.width for box in boxes)
    assert all(box.y >= 0 and box.y + box.height <= layout.height for box in boxes)


def test_names_are_never_markup():
    made = additions(entities=1)
    entity = made.entities["entity-0-0"]
    entity.name = entity.type = "</script><script>alert(1)</script>"
    entity.description = '"><img src=x onerror=alert(1)>'
    made.types = {entity.type: True}
    html = page.render(
        drawn(made), page.Heading(dataset="<b>d</b>", run="<i>r</i>", url="javascript:alert(1)", at=HEADING.at)
    )
    assert html.count("<script") == html.count("</script>") == 2
    assert not re.search(r"<img|<b>d|<i>r|javascript:", html)
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))
    assert data["nodes"][-1]["name"] == entity.name


def test_the_page_loads_nothing():
    html = page.render(drawn(additions()), HEADING)
    assert "default-src 'none'" in html
    assert not re.search(r"(src|href)=\"(?!http://page/runs/1)", html)
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)


def test_a_picture_is_its_owners_alone_and_the_oldest_go(tmp_path):
    place = folder.folder_in(tmp_path)
    place.mkdir(mode=0o755)
    kept = [
        folder.keep(
            place, "page", at=datetime(2026, 11, day, tzinfo=UTC), dataset="main: dataset/1", run_id="0a1b2c3d-9"
        )
        for day in (20, 21, 22)
    ]
    assert kept[0].name == "20261120-000000-main-dataset-1-0a1b2c3d.html"
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    folder.prune(place, 2)
    assert sorted(place.iterdir()) == kept[1:]
    folder.prune(place, 0)
    assert list(place.iterdir()) == []
