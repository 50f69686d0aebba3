"""What is pending in the cache and the ledger, and which of it a run takes."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import groupby
from uuid import UUID

from session_memory.models import Frozen

_NEVER = timedelta.max


class Reason(StrEnum):
    """Why a run left a session that has unpersisted turns."""

    #: Its last turn is younger than `idle_minutes`.
    ACTIVE = "still active"
    #: It expires later than `expiring_within_hours`.
    NOT_EXPIRING = "expires later"
    OVER_SESSIONS = "over max_sessions"
    OVER_WINDOWS = "over max_windows"
    #: The cache names an owner who is no cognee user (any more).
    NO_USER = "no such user"
    #: What an earlier dataset of the run was stopped by would stop this one too.
    STOPPED = "the run was stopped"
    #: It could not be looked at, or its dataset could not be written; the error says why.
    ERROR = "error"


class PendingSession(Frozen):
    """A session with turns that are not in its dataset yet."""

    user_id: UUID
    user_email: str
    dataset_id: UUID
    dataset_name: str
    session_id: str
    turns: int
    #: Those of them that the LLM refused before, and that are tried again.
    turns_quarantined: int = 0
    windows: int
    oldest_turn_at: datetime | None
    last_turn_at: datetime | None
    #: When the first of the turns that stand in the cache alone goes; None: never.
    expires_at: datetime | None


class LeftSession(Frozen):
    """A session with turns that are not in a dataset yet, which a run left, and why."""

    #: The owner's e-mail; what the cache says where there is no such user.
    user: str
    #: The dataset's name, where one is known.
    dataset: str | None = None
    dataset_id: UUID | None = None
    session_id: str
    #: Where they could be counted.
    turns: int | None = None
    turns_quarantined: int = 0
    oldest_turn_at: datetime | None = None
    expires_at: datetime | None = None
    reason: Reason
    error_code: str | None = None
    error: str | None = None

    @property
    def why(self) -> str:
        """The error, or else the reason's own word."""
        return self.error or self.reason.value

    @classmethod
    def of(cls, session: PendingSession, reason: Reason, **more: object) -> "LeftSession":
        """A pending session, left."""
        kept = session.model_dump(
            include={"dataset_id", "session_id", "turns", "turns_quarantined", "oldest_turn_at", "expires_at"}
        )
        return cls.model_validate(
            {"user": session.user_email, "dataset": session.dataset_name, "reason": reason, **kept, **more}
        )


class Limits(Frozen):
    """What a run takes of what is pending; None: everything."""

    #: Minutes since the session's last turn.
    idle_minutes: float = 0
    expiring_within_hours: float | None = None
    max_sessions: int | None = None
    max_windows: int | None = None


class Group(Frozen):
    """Sessions of one user that go into one dataset: a run of `persist-sessions`."""

    user_id: UUID
    user_email: str
    dataset_id: UUID
    dataset_name: str
    sessions: tuple[PendingSession, ...]


class Backlog(Frozen):
    """What `find_pending_sessions` returns."""

    groups: tuple[Group, ...] = ()
    left: tuple[LeftSession, ...] = ()


def choose(pending: Iterable[PendingSession], left: Iterable[LeftSession], limits: Limits, *, now: datetime) -> Backlog:
    """Split what is pending into what the run takes, soonest to expire first, and what it leaves.

    Groups are in the order in which the first of each one's sessions expires. A session that is larger than
    `max_windows` is taken if it is the first: it would never be taken otherwise.
    """
    chosen: list[PendingSession] = []
    stays = list(left)
    windows = 0
    for session in sorted(pending, key=lambda session: _urgency(session, now)):
        reason = _reason_to_leave(session, limits, now)
        if reason is None and limits.max_sessions is not None and len(chosen) >= limits.max_sessions:
            reason = Reason.OVER_SESSIONS
        over = limits.max_windows is not None and windows + session.windows > limits.max_windows
        if reason is None and chosen and over:
            reason = Reason.OVER_WINDOWS
        if reason is None:
            chosen.append(session)
            windows += session.windows
        else:
            stays.append(LeftSession.of(session, reason))
    return Backlog(groups=tuple(_groups(chosen, now)), left=tuple(stays))


def _reason_to_leave(session: PendingSession, limits: Limits, now: datetime) -> Reason | None:
    horizon = limits.expiring_within_hours
    if horizon is not None and (session.expires_at is None or session.expires_at > now + timedelta(hours=horizon)):
        return Reason.NOT_EXPIRING
    if session.last_turn_at is not None and now - session.last_turn_at < timedelta(minutes=limits.idle_minutes):
        return Reason.ACTIVE
    return None


def _groups(chosen: list[PendingSession], now: datetime) -> list[Group]:
    def of_one(session: PendingSession) -> tuple[str, str]:
        return str(session.user_id), str(session.dataset_id)

    groups = []
    for _, sessions in groupby(sorted(chosen, key=of_one), key=of_one):
        members = tuple(sorted(sessions, key=lambda session: _urgency(session, now)))
        first = members[0]
        groups.append(
            Group(
                user_id=first.user_id,
                user_email=first.user_email,
                dataset_id=first.dataset_id,
                dataset_name=first.dataset_name,
                sessions=members,
            )
        )
    return sorted(groups, key=lambda group: _urgency(group.sessions[0], now))


def _urgency(session: PendingSession, now: datetime) -> tuple[timedelta, datetime]:
    """Soonest to expire first; of those that never do, the oldest first."""
    left = session.expires_at - now if session.expires_at else _NEVER
    return left, session.oldest_turn_at or now
