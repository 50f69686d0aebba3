"""Makes the ledger's tables ready: creates those that are missing, brings older ones up to this version."""

from collections.abc import Callable

from alembic.migration import MigrationContext
from alembic.operations import Operations
from cognee.infrastructure.databases.relational import get_relational_engine
from sqlalchemy import Column, Connection, DateTime, insert, inspect, select, update

from session_memory import dataset_lock
from session_memory.errors import LedgerSchemaUnknown
from session_memory.ledger_schema import VERSION, Base, SchemaRow, WindowRow

#: Two processes that start at once take turns.
_WAIT_SECONDS = 60.0


async def prepare() -> None:
    """Bring the ledger's tables to this program's version; at once when they are.

    Tables that are lost are made anew, empty: `adoption` fills them from the documents' own metadata.

    Raises:
        LedgerSchemaUnknown: a newer release wrote them.
        DatasetBusy: another process has been preparing them for a minute.
    """
    engine = get_relational_engine().engine
    # SQLAlchemy's errors quote a statement's parameters, and one of ours is a conversation.
    engine.sync_engine.hide_parameters = True
    async with engine.connect() as connection:
        if await connection.run_sync(_is_ready):
            return
    lock = dataset_lock.hold_named("ledger", called="the ledger", holder="a start", wait_seconds=_WAIT_SECONDS)
    async with lock, engine.begin() as connection:
        await connection.run_sync(_prepare)


def _is_ready(connection: Connection) -> bool:
    existing = set(inspect(connection).get_table_names())
    return existing >= set(Base.metadata.tables) and _version(connection) == VERSION


def _version(connection: Connection) -> object:
    return connection.scalar(select(SchemaRow.version))


def _prepare(connection: Connection) -> None:
    had_windows = inspect(connection).has_table(WindowRow.__tablename__)
    Base.metadata.create_all(connection)
    found = _version(connection)
    if found is None:
        found = _version_by_columns(connection) if had_windows else VERSION
        connection.execute(insert(SchemaRow).values(version=found))
    if not isinstance(found, int) or not min(_STEPS) <= found <= VERSION:
        raise LedgerSchemaUnknown(found=found, known=VERSION)
    operations = Operations(MigrationContext.configure(connection))
    for version in range(found, VERSION):
        _STEPS[version](operations)
    connection.execute(update(SchemaRow).values(version=VERSION))


def _version_by_columns(connection: Connection) -> int:
    """The version of tables whose row that says it is lost."""
    return VERSION if _columns(connection) >= set(WindowRow.__table__.columns.keys()) else min(_STEPS)


def _columns(connection: Connection) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(WindowRow.__tablename__)}


def _from_1(operations: Operations) -> None:
    if "adopted_at" not in _columns(operations.get_bind()):
        operations.add_column(WindowRow.__tablename__, Column("adopted_at", DateTime(timezone=True)))


#: The step from each version to the next. SQLite keeps a step that a killed process did not finish, so that each can
#: be repeated.
_STEPS: dict[int, Callable[[Operations], None]] = {1: _from_1}
