"""Where everything of a picture stands: conversations on the left, what they name on the right.

Nodes never overlap, so every name can be read. What would be a long strip is folded into several side by side.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from session_memory.picture.picture import Kind, Node, Picture

#: Pixels at a zoom of 1.
LEFT_WIDTH = 272.0
TITLE_HEIGHT = 30.0
TURN_HEIGHT = 22.0
PILL_HEIGHT = 23.0
#: Characters shown of a name.
ID_SHOWN = 32
NAME_SHOWN = 26

_INSET = 16.0
_PAD = 7.0
_DOCUMENT_GAP = 6.0
_SESSION_GAP = 20.0
_ROW = 30.0
_LINKS_GAP = 130.0
_COLUMN_GAP = 70.0
_STRIP_GAP = 120.0
_MARGIN = 40.0
# Of a wide font: which one a browser takes is not known here.
_CHARACTER = 7.3
_WIDE_CHARACTER = 13.0
_PILL_PAD = 34.0
#: Columns of entities in a strip, and strips, at most.
_COLUMNS = 3
_STRIPS = 10
#: Width to height of the screen that is to be filled.
_ASPECT = 1.4


@dataclass(frozen=True)
class Box:
    """Where a node stands."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Half way down."""
        return self.y + self.height / 2


@dataclass(frozen=True)
class Layout:
    """The boxes of a picture's nodes, by their places in it, and the size of the whole."""

    boxes: dict[int, Box]
    width: float
    height: float


@dataclass(frozen=True)
class _Session:
    """A session with all that stands in it."""

    #: Offset of each node from the session's top, and its height.
    rows: dict[int, tuple[float, float]]
    height: float


def arrange(picture: Picture) -> Layout:
    """Give every node of a picture its place, in as many strips and columns as fill a screen best."""
    sessions = _sessions(picture.nodes)
    anchors = _anchors(picture, sessions)
    tried = [
        _in_strips(picture, sessions, anchors, strips, columns)
        for strips in range(1, min(_STRIPS, len(sessions)) + 1)
        for columns in range(1, _COLUMNS + 1)
    ]
    return min(tried, key=lambda layout: max(layout.width / _ASPECT, layout.height))


def shortened(name: str, characters: int) -> str:
    """A name as it is shown."""
    return name if len(name) <= characters else f"{name[: characters - 1].rstrip()}…"


def _sessions(nodes: Sequence[Node]) -> list[_Session]:
    found: list[_Session] = []
    at = 0
    while at < len(nodes) and nodes[at].kind is Kind.SESSION:
        rows = {at: (0.0, TITLE_HEIGHT)}
        y = TITLE_HEIGHT
        at += 1
        while at < len(nodes) and nodes[at].kind is Kind.DOCUMENT:
            document, top = at, y
            y += _PAD
            at += 1
            while at < len(nodes) and nodes[at].kind is Kind.TURN:
                rows[at] = (y, TURN_HEIGHT)
                y += TURN_HEIGHT
                at += 1
            y += _PAD
            rows[document] = (top, y - top)
            y += _DOCUMENT_GAP
        found.append(_Session(rows=rows, height=y))
    return found


def _anchors(picture: Picture, sessions: Sequence[_Session]) -> dict[int, list[int]]:
    """What names each entity: one that is shown is always named by something that is."""
    said = {place for session in sessions for place in session.rows}
    found: dict[int, list[int]] = {place: [] for place, node in enumerate(picture.nodes) if node.kind is Kind.ENTITY}
    for link in picture.links:
        if link.source in said and link.target in found:
            found[link.target].append(link.source)
    return found


def _in_strips(
    picture: Picture, sessions: Sequence[_Session], anchors: dict[int, list[int]], count: int, columns: int
) -> Layout:
    strips = _cut(sessions, count)
    strip_of = {place: at for at, strip in enumerate(strips) for session in strip for place in session.rows}
    entities: list[list[int]] = [[] for _ in strips]
    for entity, named_by in anchors.items():
        # Where most of what names it is; of equals where there is room.
        times = Counter(strip_of[place] for place in named_by)
        chosen = min(times, key=lambda at: (-times[at], len(entities[at]) / len(strips[at])))
        entities[chosen].append(entity)
    height = max(
        max(_height(strip), math.ceil(len(of_strip) / columns) * _ROW)
        for strip, of_strip in zip(strips, entities, strict=True)
    )
    boxes: dict[int, Box] = {}
    x = _MARGIN
    for at, (strip, of_strip) in enumerate(zip(strips, entities, strict=True)):
        _place_sessions(picture.nodes, strip, boxes, x, height)
        here = {entity: [place for place in anchors[entity] if strip_of[place] == at] for entity in of_strip}
        wanted = {entity: fmean(boxes[place].middle for place in places) for entity, places in here.items()}
        x += LEFT_WIDTH
        if of_strip:
            x = _place_entities(picture.nodes, of_strip, wanted, boxes, x + _LINKS_GAP, height, columns)
        x += _STRIP_GAP
    return Layout(boxes=boxes, width=x - _STRIP_GAP + _MARGIN, height=height + 2 * _MARGIN)


def _cut(sessions: Sequence[_Session], count: int) -> list[list[_Session]]:
    """Sessions in strips of about the same height, in their order."""
    whole = sum(session.height + _SESSION_GAP for session in sessions)
    strips: list[list[_Session]] = [[] for _ in range(count)]
    y = 0.0
    for session in sessions:
        middle = y + session.height / 2
        strips[min(int(middle / whole * count), count - 1)].append(session)
        y += session.height + _SESSION_GAP
    return [strip for strip in strips if strip]


def _height(sessions: Sequence[_Session]) -> float:
    return sum(session.height + _SESSION_GAP for session in sessions) - _SESSION_GAP


def _place_sessions(
    nodes: Sequence[Node], sessions: Sequence[_Session], boxes: dict[int, Box], left: float, height: float
) -> None:
    y = _MARGIN + (height - _height(sessions)) / 2
    for session in sessions:
        for place, (offset, tall) in session.rows.items():
            inset = 0.0 if nodes[place].kind is Kind.SESSION else _INSET
            boxes[place] = Box(left + inset, y + offset, LEFT_WIDTH - inset, tall)
        y += session.height + _SESSION_GAP


def _place_entities(
    nodes: Sequence[Node],
    entities: Sequence[int],
    wanted: dict[int, float],
    boxes: dict[int, Box],
    left: float,
    height: float,
    columns: int,
) -> float:
    """Place entities from `left`, each about as high as it is wanted; returns where they end."""
    ordered = sorted(entities, key=lambda entity: (wanted[entity], nodes[entity].name))
    lines = [ordered[start : start + columns] for start in range(0, len(ordered), columns)]
    tops = _spread([fmean(wanted[entity] for entity in line) for line in lines], _MARGIN, _MARGIN + height)
    x = left
    for column in range(min(columns, len(ordered))):
        for line, top in zip(lines, tops, strict=True):
            if column < len(line):
                width = _pill_width(nodes[line[column]].name)
                boxes[line[column]] = Box(x, top - PILL_HEIGHT / 2, width, PILL_HEIGHT)
        x = max(boxes[line[column]].x + boxes[line[column]].width for line in lines if column < len(line)) + _COLUMN_GAP
    return x - _COLUMN_GAP


def _spread(wanted: Sequence[float], top: float, bottom: float) -> list[float]:
    """Heights as near as may be to those wanted, in their order, a row apart, between top and bottom."""
    # As isotonic regression does: rows that want to be too near each other become one block around their mean.
    blocks: list[tuple[float, int]] = []
    for at, height in enumerate(wanted):
        blocks.append((height - at * _ROW, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (first, many), (second, more) = blocks[-2:]
            blocks[-2:] = [((first * many + second * more) / (many + more), many + more)]
    last = bottom - _ROW / 2 - (len(wanted) - 1) * _ROW
    starts = [min(max(start, top + _ROW / 2), last) for start, many in blocks for _ in range(many)]
    return [start + at * _ROW for at, start in enumerate(starts)]


def _pill_width(name: str) -> float:
    shown = shortened(name, NAME_SHOWN)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in shown)
    return _PILL_PAD + (len(shown) - wide) * _CHARACTER + wide * _WIDE_CHARACTER
