"""Named points of the write path where a test can kill the process. Inert unless armed."""

import os
import signal

#: `POINT=kill` or `POINT:N=kill`: the N-th time it is reached.
VARIABLE = "SESSION_MEMORY_FAULT"

#: In the order a run passes them.
POINTS = (
    "before-freeze",
    "frozen",
    "extracted",
    "locked",
    "added",
    "cognified",
    "noted",
    "before-remove",
    "removed",
    "committed",
    "settled",
)

_reached: dict[str, int] = {}


def reach(point: str) -> None:
    """Die here if a test armed this point; nothing otherwise."""
    armed = os.environ.get(VARIABLE)
    if not armed:
        return
    name, _, turn = armed.removesuffix("=kill").partition(":")
    if name != point:
        return
    _reached[point] = _reached.get(point, 0) + 1
    if _reached[point] == int(turn or 1):
        os.kill(os.getpid(), signal.SIGKILL)
