"""Who may do it: resolves a user and a dataset, and checks the permission, before anything is read or written."""

import difflib
from collections.abc import Iterable
from uuid import UUID

from cognee.infrastructure.databases.exceptions import EntityNotFoundError
from cognee.infrastructure.databases.relational import get_relational_engine
from cognee.modules.data.methods import (
    create_authorized_dataset,
    get_authorized_existing_datasets,
    get_datasets,
)
from cognee.modules.data.models import Dataset
from cognee.modules.users.exceptions import PermissionDeniedError
from cognee.modules.users.methods import get_default_user, get_user, get_user_by_email
from cognee.modules.users.models import User
from sqlalchemy import select

from session_memory.errors import DatasetGone, DatasetNotFound, NoWritePermission, UserNotFound
from session_memory.models import Target
from session_memory.settings import Settings


async def authorise(user: str | None, dataset: str, settings: Settings) -> Target:
    """Resolve whose sessions go where.

    Args:
        user: an e-mail, a UUID, or None for cognee's default user.
        dataset: a name among the user's own datasets, or the UUID of any.

    Raises:
        UserNotFound, DatasetNotFound: with near matches.
        NoWritePermission: the user may not write to the dataset.
    """
    account = await find_user(user)
    found = await _dataset(account, dataset, settings)
    return Target(
        user_id=account.id,
        user_email=account.email,
        dataset_id=found.id,
        dataset_name=found.name,
        dataset_owner_id=found.owner_id,
    )


async def recheck(target: Target) -> User:
    """The user, when the dataset is still there and still open to them.

    Raises:
        DatasetGone, NoWritePermission: it is not.
    """
    account = await find_user(str(target.user_id))
    async with get_relational_engine().get_async_session() as session:
        if await session.get(Dataset, target.dataset_id) is None:
            raise DatasetGone(dataset=target.dataset_name)
    await _require_write(account, target.dataset_id, target.dataset_name)
    return account


async def find_user(user: str | None) -> User:
    """The account of an e-mail or a UUID; cognee's default user for None.

    Raises:
        UserNotFound: there is none.
    """
    if user is None:
        return await get_default_user()
    user_id = as_uuid(user)
    try:
        account = await get_user(user_id) if user_id else await get_user_by_email(user)
    except EntityNotFoundError:
        account = None
    if account is None:
        async with get_relational_engine().get_async_session() as session:
            emails = (await session.scalars(select(User.email))).all()
        raise UserNotFound(user=user, near=near(user, emails))
    return account


def as_uuid(text: str) -> UUID | None:
    """The UUID a text spells, or None."""
    try:
        return UUID(text)
    except ValueError:
        return None


async def _dataset(account: User, dataset: str, settings: Settings) -> Dataset:
    dataset_id = as_uuid(dataset)
    if dataset_id is not None:
        return await _require_write(account, dataset_id, dataset)
    own = [one for one in await get_datasets(account.id) if one.tenant_id == account.tenant_id]
    named = [one for one in own if one.name == dataset]
    if named:
        return await _require_write(account, named[0].id, dataset)
    if settings.create_dataset:
        return await create_authorized_dataset(dataset, account)
    raise DatasetNotFound(dataset=dataset, near=near(dataset, [one.name for one in own]))


async def _require_write(account: User, dataset_id: UUID, name: str) -> Dataset:
    # By UUID: names resolve only among the caller's own datasets.
    try:
        found = await get_authorized_existing_datasets(user=account, datasets=[dataset_id], permission_type="write")
    except PermissionDeniedError:
        found = []
    if not found:
        raise NoWritePermission(user=account.email, dataset=name)
    return found[0]


def near(wanted: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(wanted, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(matches)}?" if matches else ""
