"""Who may do it: resolves a user and a dataset, and checks the permission, before anything is read or written.

Sessions are read by their owner's id. They are written under the owner's permission or, where the owner has none, under
that of a service account of the settings.
"""

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

from session_memory.errors import (
    DatasetGone,
    DatasetNotFound,
    NoDeletePermission,
    NoWritePermission,
    OtherTenant,
    UserNotFound,
)
from session_memory.models import Target
from session_memory.settings import Settings


async def authorise(user: str | None, dataset: str, settings: Settings) -> Target:
    """Resolve whose sessions go where, and who writes them there.

    Args:
        user: an e-mail, a UUID, or None for cognee's default user.
        dataset: a name among the user's own datasets, or the UUID of any.

    Raises:
        UserNotFound, DatasetNotFound: with near matches.
        NoWritePermission: neither the user nor a service account may write to the dataset.
        OtherTenant: a service account may, and the user is no member of the dataset's tenant.
    """
    owner = await find_user(user)
    writers = [owner, *[await find_user(one) for one in settings.service_accounts]]
    found, writer = await _dataset(owner, writers, dataset, settings)
    return Target(
        user_id=owner.id,
        user_email=owner.email,
        writer_id=writer.id,
        writer_email=writer.email,
        dataset_id=found.id,
        dataset_name=found.name,
        dataset_owner_id=found.owner_id,
    )


async def recheck(target: Target) -> User:
    """The writer, when the dataset is still there and still open to them, and the sessions' owner too is there.

    Raises:
        UserNotFound, DatasetGone, NoWritePermission, OtherTenant: it is not.
    """
    owner = await find_user(str(target.user_id))
    writer = await find_user(str(target.writer_id))
    async with get_relational_engine().get_async_session() as session:
        if await session.get(Dataset, target.dataset_id) is None:
            raise DatasetGone(dataset=target.dataset_name)
    await _require_write(owner, [writer], target.dataset_id, target.dataset_name)
    return writer


async def require_delete(target: Target) -> None:
    """Raises NoDeletePermission when the writer may not take documents out of the dataset."""
    writer = await find_user(str(target.writer_id))
    try:
        await get_authorized_existing_datasets(user=writer, datasets=[target.dataset_id], permission_type="delete")
    except PermissionDeniedError:
        raise NoDeletePermission(user=target.writer_email, dataset=target.dataset_name) from None


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


async def _dataset(owner: User, writers: list[User], dataset: str, settings: Settings) -> tuple[Dataset, User]:
    """The dataset, and who of the writers may write to it."""
    dataset_id = as_uuid(dataset)
    if dataset_id is not None:
        return await _require_write(owner, writers, dataset_id, dataset)
    own = [one for one in await get_datasets(owner.id) if one.tenant_id == owner.tenant_id]
    named = [one for one in own if one.name == dataset]
    if named:
        return await _require_write(owner, writers, named[0].id, dataset)
    if settings.create_dataset:
        return await create_authorized_dataset(dataset, owner), owner
    raise DatasetNotFound(dataset=dataset, near=near(dataset, [one.name for one in own]))


async def _require_write(owner: User, writers: list[User], dataset_id: UUID, name: str) -> tuple[Dataset, User]:
    for writer in writers:
        try:
            # By UUID: names resolve only among the caller's own datasets.
            found = await get_authorized_existing_datasets(user=writer, datasets=[dataset_id], permission_type="write")
        except PermissionDeniedError:
            continue
        if found:
            # Somebody else's permission must not carry what was said out of the tenants of who said it.
            if writer.id != owner.id and found[0].tenant_id not in await _tenants(owner):
                raise OtherTenant(user=owner.email, dataset=name)
            return found[0], writer
    raise NoWritePermission(user=" or ".join(dict.fromkeys(writer.email for writer in writers)), dataset=name)


async def _tenants(user: User) -> set[UUID | None]:
    """The tenants of a user, the one selected and the others; None stands for having selected none."""
    return {user.tenant_id, *(tenant.id for tenant in (await get_user(user.id)).tenants)}


def near(wanted: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(wanted, list(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(matches)}?" if matches else ""
