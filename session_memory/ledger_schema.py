"""The ledger's tables: what was planned, beside cognee's own tables and apart from its migrations."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, DateTime, ForeignKey, Index, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: Raised with every change of these tables; `ledger_setup` has the step from each version to the next.
VERSION = 2


class Base(DeclarativeBase):
    metadata = MetaData()


class SchemaRow(Base):
    """The one row that says which version of these tables the database holds."""

    __tablename__ = "session_memory_schema"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class State(StrEnum):
    """What was intended for a window. Whether it is in the graph is never stored: see `ledger.is_complete`."""

    #: To be committed, or committed.
    PLANNED = "planned"
    #: Refused by the LLM; tried again a few times, then only when asked.
    QUARANTINED = "quarantined"
    #: Other windows hold its turns now.
    SUPERSEDED = "superseded"


class WindowRow(Base):
    """A window, frozen before anything of it is written."""

    __tablename__ = "session_memory_window"
    __table_args__ = (Index("ix_session_memory_window_session", "dataset_id", "owner_id", "session_id"),)

    data_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    dataset_id: Mapped[UUID] = mapped_column(Uuid)
    owner_id: Mapped[UUID] = mapped_column(Uuid)
    session_id: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    #: The document, until it is purged a set time after the window was seen complete.
    text: Mapped[str | None] = mapped_column(Text)
    #: `TurnRef`s as JSON: they outlive the text.
    turns: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    node_set: Mapped[list[str]] = mapped_column(JSON)
    replaces: Mapped[UUID | None] = mapped_column(Uuid, index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    error_code: Mapped[str | None] = mapped_column(Text)
    #: When the dataset was made for which this holds. A dataset that is deleted and made again keeps its id.
    dataset_generation: Mapped[str] = mapped_column(Text)
    first_seen_complete_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    #: When it was taken from its document's own metadata, because the ledger had lost it.
    adopted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))


class TurnRow(Base):
    """Where a turn is held. The primary key is what keeps two runs from planning a turn twice."""

    __tablename__ = "session_memory_turn"

    dataset_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    session_id: Mapped[str] = mapped_column(Text, primary_key=True)
    qa_id: Mapped[str] = mapped_column(Text, primary_key=True)
    hash: Mapped[str] = mapped_column(Text)
    #: The window that holds it; None when cognee's own path had stored it.
    data_id: Mapped[UUID | None] = mapped_column(ForeignKey(WindowRow.data_id), index=True)
    dataset_generation: Mapped[str] = mapped_column(Text)
