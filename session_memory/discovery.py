"""Finds sessions, in the cache and in the ledger once that expired: all of them, or those with unpersisted turns."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.modules.data.models import Dataset
from cognee.modules.users.models import User
from sqlalchemy import select

from session_memory import access, cache_listing, ledger, ledger_index, planning, session_cache
from session_memory.backlog import LeftSession, PendingSession, Reason
from session_memory.document import CachedSession
from session_memory.errors import DatasetGone, DatasetNotFound, SessionMemoryError
from session_memory.failures import told_in_our_words
from session_memory.holdings import HeldSession
from session_memory.models import Target
from session_memory.settings import Settings

Found = PendingSession | LeftSession


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A session as the cache and the ledger hold it, for a dataset it belongs in."""

    target: Target
    cached: CachedSession
    held: HeldSession
    #: When the cache loses the first of its turns; None: never, or it holds none.
    expires_at: datetime | None
    #: Whether what is said in it from now on goes into this dataset; else the ledger alone has it here.
    belongs: bool


async def discover(users: list[str] | None, datasets: list[str] | None, settings: Settings) -> AsyncIterator[Found]:
    """Every session with unpersisted turns, and those that could not be looked at; as `look`, which raises the same."""
    async for seen in look(users, datasets, settings, finished=False):
        found = seen if isinstance(seen, LeftSession) else _pending(seen, settings)
        if found is not None:
            yield found


async def look(
    users: list[str] | None,
    datasets: list[str] | None,
    settings: Settings,
    *,
    session_ids: list[str] | None = None,
    finished: bool,
) -> AsyncIterator[Seen | LeftSession]:
    """Sessions by the datasets they belong in, and those that could not be looked at, a page at a time.

    A session goes into the dataset that cognee recorded for it; where there is none, into those where the ledger
    holds it; else into the settings' default. What the ledger has frozen for any dataset is pending there, whether
    the cache still holds it or not.

    Args:
        users: e-mails or UUIDs; None for everybody.
        datasets: names or UUIDs; None for all.
        session_ids: only these; None for all.
        finished: those too that the cache has lost and whose every window is decided.

    Raises:
        UserNotFound, DatasetNotFound: a filter names what does not exist.
        CachingDisabled, CacheNotListed, CacheUnreachable: the cache cannot be asked.
    """
    session_cache.require_caching()
    with told_in_our_words():
        only_users = {(await access.find_user(user)).id for user in users} if users is not None else None
        only_sessions = set(session_ids) if session_ids else None
        discovery = _Discovery(only_users, await _dataset_ids(datasets), only_sessions, settings)
        async for page in cache_listing.pages():
            for found in await discovery.in_cache(page):
                yield found
        attempts = None if finished else settings.quarantine_attempts
        async for keys in ledger_index.sessions(quarantine_attempts=attempts):
            for found in await discovery.in_ledger(keys):
                yield found


class _Discovery:
    def __init__(
        self, users: set[UUID] | None, datasets: set[UUID] | None, sessions: set[str] | None, settings: Settings
    ) -> None:
        self._only_users = users
        self._only_datasets = datasets
        self._only_sessions = sessions
        self._settings = settings
        self._users: dict[UUID, User | None] = {}
        self._targets: dict[tuple[UUID, str], Target | SessionMemoryError] = {}
        #: (owner, dataset, session) that were looked at.
        self._seen: set[tuple[UUID, UUID, str]] = set()
        #: (owner, session) that were met in the cache.
        self._cached: set[tuple[UUID, str]] = set()

    async def in_cache(self, page: list[cache_listing.ListedSession]) -> list[Seen | LeftSession]:
        """The sessions of a page of the cache."""
        listed = [(access.as_uuid(one.user_id), one) for one in page if self._names(one.session_id)]
        await self._load_users(user_id for user_id, _ in listed if user_id)
        found: list[Seen | LeftSession] = []
        by_user: dict[UUID, list[cache_listing.ListedSession]] = {}
        for user_id, one in listed:
            user = self._users.get(user_id) if user_id else None
            if user is not None and self._wants(user.id):
                by_user.setdefault(user.id, []).append(one)
            elif user is None and self._only_users is None and self._only_datasets is None:
                found.append(
                    LeftSession(
                        user=one.user_id, session_id=one.session_id, expires_at=one.expires_at, reason=Reason.NO_USER
                    )
                )
        for user_id, sessions in by_user.items():
            names = [one.session_id for one in sessions]
            recorded = await session_cache.datasets_of(user_id, names)
            held = await ledger_index.datasets_of(user_id, names)
            by_dataset: dict[str, dict[str, datetime | None]] = {}
            for one in sessions:
                for dataset in self._datasets_of(one.session_id, recorded, held):
                    by_dataset.setdefault(dataset, {})[one.session_id] = one.expires_at
            for dataset, expiries in by_dataset.items():
                found += await self._look(self._user(user_id), dataset, expiries)
            self._cached |= {(user_id, one.session_id) for one in sessions}
        return found

    async def in_ledger(self, page: list[ledger_index.Key]) -> list[Seen | LeftSession]:
        """Those of a page of (owner, dataset, session) that were not met in the cache."""
        unseen = [key for key in page if key not in self._seen and self._wants(key[0]) and self._names(key[2])]
        await self._load_users(owner for owner, _, _ in unseen)
        groups: dict[tuple[UUID, UUID], dict[str, datetime | None]] = {}
        for owner, dataset_id, session_id in unseen:
            if self._users.get(owner) is not None:
                groups.setdefault((owner, dataset_id), {})[session_id] = None
        found: list[Seen | LeftSession] = []
        for (owner, dataset_id), expiries in groups.items():
            found += await self._look(self._user(owner), str(dataset_id), expiries)
        return found

    async def _look(self, user: User, dataset: str, expiries: dict[str, datetime | None]) -> list[Seen | LeftSession]:
        """A user's sessions as they are for a dataset; `expiries` says when the cache loses each."""
        target = await self._target(user, dataset)
        if isinstance(target, SessionMemoryError):
            if self._only_datasets is not None:
                return []
            return [_unseen(user, None, session_id, at, target) for session_id, at in expiries.items()]
        if self._only_datasets is not None and target.dataset_id not in self._only_datasets:
            return []
        self._seen |= {(target.user_id, target.dataset_id, session_id) for session_id in expiries}
        cached = await session_cache.read_all(target.user_id, list(expiries))
        held: Mapping[str, HeldSession | SessionMemoryError]
        try:
            held = await ledger.sessions_in(target, list(expiries))
        except DatasetGone as gone:
            held = dict.fromkeys(expiries, gone)
        found: list[Seen | LeftSession] = []
        for session_id, expires_at in expiries.items():
            in_cache, in_ledger = cached[session_id], held[session_id]
            for error in (in_cache, in_ledger):
                if isinstance(error, SessionMemoryError):
                    found.append(_unseen(user, target, session_id, expires_at, error))
                    break
            else:
                found.append(
                    Seen(
                        target=target,
                        cached=in_cache,  # type: ignore[arg-type]
                        held=in_ledger,  # type: ignore[arg-type]
                        expires_at=expires_at,
                        belongs=(target.user_id, session_id) not in self._cached,
                    )
                )
        return found

    def _datasets_of(self, session_id: str, recorded: dict[str, UUID], held: dict[str, set[UUID]]) -> list[str]:
        if session_id in recorded:
            return [str(recorded[session_id])]
        return sorted(map(str, held.get(session_id, ()))) or [self._settings.default_dataset]

    def _user(self, user_id: UUID) -> User:
        user = self._users[user_id]
        assert user is not None
        return user

    def _wants(self, user_id: UUID) -> bool:
        return self._only_users is None or user_id in self._only_users

    def _names(self, session_id: str) -> bool:
        return self._only_sessions is None or session_id in self._only_sessions

    async def _load_users(self, user_ids: Iterable[UUID]) -> None:
        unknown = set(user_ids) - self._users.keys()
        if unknown:
            async with get_relational_engine().get_async_session() as session:
                rows = await session.scalars(select(User).where(User.id.in_(unknown)))
                self._users |= dict.fromkeys(unknown) | {user.id: user for user in rows.unique()}

    async def _target(self, user: User, dataset: str) -> Target | SessionMemoryError:
        key = (user.id, dataset)
        if key not in self._targets:
            try:
                self._targets[key] = await access.authorise(str(user.id), dataset, self._settings)
            except SessionMemoryError as error:
                if error.transient:
                    raise
                self._targets[key] = error
        return self._targets[key]


def _pending(seen: Seen, settings: Settings) -> PendingSession | None:
    pending = planning.pending(seen.cached, seen.held, settings=settings)
    if pending is None:
        return None
    return PendingSession(
        user_id=seen.target.user_id,
        user_email=seen.target.user_email,
        dataset_id=seen.target.dataset_id,
        dataset_name=seen.target.dataset_name,
        session_id=seen.cached.session_id,
        turns=pending.turns,
        turns_quarantined=pending.turns_quarantined,
        windows=pending.windows,
        oldest_turn_at=pending.oldest_turn_at,
        last_turn_at=pending.last_turn_at,
        expires_at=seen.expires_at if pending.only_cached else None,
    )


def _unseen(
    user: User, target: Target | None, session_id: str, expires_at: datetime | None, error: SessionMemoryError
) -> LeftSession:
    return LeftSession(
        user=user.email,
        dataset=target.dataset_name if target else None,
        dataset_id=target.dataset_id if target else None,
        session_id=session_id,
        expires_at=expires_at,
        reason=Reason.ERROR,
        error_code=error.code,
        error=str(error),
    )


async def _dataset_ids(datasets: list[str] | None) -> set[UUID] | None:
    """The ids of datasets by name, whoever's they are, or UUID."""
    if datasets is None:
        return None
    async with get_relational_engine().get_async_session() as session:
        rows = (await session.execute(select(Dataset.id, Dataset.name))).all()
    found: set[UUID] = set()
    for wanted in datasets:
        matches = {dataset_id for dataset_id, name in rows if wanted in (name, str(dataset_id))}
        if not matches:
            raise DatasetNotFound(dataset=wanted, near=access.near(wanted, [name for _, name in rows]))
        found |= matches
    return found
