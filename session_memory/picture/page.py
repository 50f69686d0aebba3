"""A picture as one HTML file: nothing is loaded, and no name in it is ever read as markup."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template

from session_memory.picture.layout import ID_SHOWN, NAME_SHOWN, Box, Layout, arrange, shortened
from session_memory.picture.picture import Kind, Link, Node, Picture

#: Types with a colour of their own; the others share the last one.
_COLOURS = 8
_TYPES_SHOWN = 16
#: Lines from which on they are drawn fainter.
_DENSE = 300


@dataclass(frozen=True, kw_only=True)
class Heading:
    """Which run it was."""

    dataset: str
    run: str
    #: Its page at Prefect, where there is one that stays.
    url: str | None
    at: datetime


def render(picture: Picture, heading: Heading) -> str:
    """The page."""
    layout = arrange(picture)
    style, script = _file("page.css"), _file("page.js")
    run = escape(heading.run)
    if heading.url and heading.url.startswith(("http://", "https://")):
        run = f'<a href="{escape(heading.url)}" rel="noreferrer">{run}</a>'
    data = {"nodes": [asdict(node) for node in picture.nodes], "links": [asdict(link) for link in picture.links]}
    return Template(_file("page.html")).substitute(
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        title=escape(f"What run {heading.run} added to {heading.dataset}"),
        heading=f"What run {run} added to {escape(heading.dataset)} <small>{heading.at:%Y-%m-%d %H:%M} UTC</small>",
        summary=escape(picture.summary),
        left_out="".join(f'<p class="cut">{escape(sentence)}</p>' for sentence in picture.left_out),
        types="\n".join(_types(picture)),
        density="dense" if len(picture.links) > _DENSE else "",
        width=f"{layout.width:.0f}",
        height=f"{layout.height:.0f}",
        drawing="\n".join(_drawing(picture, layout)),
        data=_as_script_data(data),
    )


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How the page's own policy names the one style and the one script that it lets work."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _as_script_data(data: object) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data, ensure_ascii=False).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _colours(picture: Picture) -> dict[str, str]:
    named = [name for name, _, _ in picture.types if name]
    return {name: f"t{min(at, _COLOURS)}" for at, name in enumerate(named)} | {"": f"t{_COLOURS}"}


def _types(picture: Picture) -> Iterator[str]:
    colours = _colours(picture)
    for name, count, added in picture.types[:_TYPES_SHOWN]:
        yield (
            f'<li><button type="button" class="type" aria-pressed="false" data-type="{escape(name)}">'
            f'<i class="dot {colours[name]}"></i><b>{escape(name) or "no type"}</b>'
            f"{'<em class=new>new</em>' if added else ''}<span>{count:,}</span></button></li>"
        )
    if (more := len(picture.types) - _TYPES_SHOWN) > 0:
        yield f'<li class="hint">and {more:,} more</li>'


def _drawing(picture: Picture, layout: Layout) -> Iterator[str]:
    colours = _colours(picture)
    boxes = layout.boxes
    of_kind = {kind: [at for at, node in enumerate(picture.nodes) if node.kind is kind] for kind in Kind}
    for at, link in enumerate(picture.links):
        yield _link(at, link, boxes[link.source], boxes[link.target], colours[picture.nodes[link.target].type])
    # Over the lines: those that pass behind a conversation are not to strike it through.
    for at in of_kind[Kind.DOCUMENT]:
        yield _node(at, picture, boxes[at], _document(boxes[at]))
    for at in of_kind[Kind.SESSION]:
        yield _node(at, picture, boxes[at], _session(picture.nodes[at], boxes[at]))
    for at in of_kind[Kind.TURN]:
        yield _node(at, picture, boxes[at], _turn(picture.nodes[at], boxes[at]))
    for at in of_kind[Kind.ENTITY]:
        yield _node(at, picture, boxes[at], _entity(picture.nodes[at], boxes[at]), colours[picture.nodes[at].type])


def _node(at: int, picture: Picture, box: Box, content: str, colour: str = "") -> str:
    node = picture.nodes[at]
    what = "added by this run" if node.added else "there before"
    label = escape(f"{node.kind.value} {node.name}, {node.type + ', ' if node.type else ''}{what}")
    return (
        f'<g class="node {node.kind.value} {"added" if node.added else "met"} {colour}" data-node="{at}" tabindex="0" '
        f'role="button" aria-label="{label}" transform="translate({box.x:.1f} {box.y:.1f})">{content}</g>'
    )


def _rect(box: Box, radius: float) -> str:
    return f'<rect width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius}"/>'


def _text(x: float, box: Box, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{box.height / 2:.1f}"{attributes}>{escape(text)}</text>'


def _session(node: Node, box: Box) -> str:
    circle = f'<circle cx="14" cy="{box.height / 2:.1f}" r="6"/>'
    return _rect(box, 6) + circle + _text(27, box, shortened(node.name, ID_SHOWN))


def _document(box: Box) -> str:
    return _rect(box, 8)


def _turn(node: Node, box: Box) -> str:
    circle = f'<circle cx="16" cy="{box.height / 2:.1f}" r="4"/>'
    time = _text(box.width - 14, box, node.note, ' class="time" text-anchor="end"')
    return _rect(box, 4) + circle + _text(29, box, node.name) + time


def _entity(node: Node, box: Box) -> str:
    circle = f'<circle cx="13" cy="{box.height / 2:.1f}" r="4.5"/>'
    return _rect(box, box.height / 2) + circle + _text(24, box, shortened(node.name, NAME_SHOWN))


def _link(at: int, link: Link, source: Box, target: Box, colour: str) -> str:
    kind = "relation" if link.name else colour
    return (
        f'<path class="link {kind} {"added" if link.added else "met"}" data-link="{at}" d="{_curve(source, target)}"/>'
    )


def _curve(source: Box, target: Box) -> str:
    """From side to side; between two in one column, around on the right."""
    start, end = source.x + source.width, target.x
    if end >= start:
        bend = (end - start) / 2
        return _bezier(start, source.middle, start + bend, end - bend, end, target.middle)
    if source.x >= target.x + target.width:
        start, end = source.x, target.x + target.width
        bend = (start - end) / 2
        return _bezier(start, source.middle, start - bend, end + bend, end, target.middle)
    end = target.x + target.width
    bend = max(start, end) + 20 + min(abs(source.middle - target.middle) / 5, 46)
    return _bezier(start, source.middle, bend, bend, end, target.middle)


def _bezier(x0: float, y0: float, x1: float, x2: float, x3: float, y3: float) -> str:
    return f"M{x0:.1f} {y0:.1f}C{x1:.1f} {y0:.1f} {x2:.1f} {y3:.1f} {x3:.1f} {y3:.1f}"
