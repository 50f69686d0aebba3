"""Named points of the write path where a test can kill, stop or delay the process. Inert unless armed."""

import asyncio
import os
import signal

#: `POINT=ACTION` or `POINT:N=ACTION` (the N-th time it is reached); actions: `kill`, `raise`, `sleep`.
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


class FaultRaised(Exception):
    """An armed fault point raised this."""


async def reach(point: str) -> None:
    """Do what a test armed for this point; nothing otherwise."""
    armed = os.environ.get(VARIABLE)
    if not armed:
        return
    where, _, action = armed.partition("=")
    name, _, turn = where.partition(":")
    if name != point:
        return
    _reached[point] = _reached.get(point, 0) + 1
    if _reached[point] != int(turn or 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action == "raise":
        raise FaultRaised(point)
    if action == "sleep":
        await asyncio.sleep(3600)
