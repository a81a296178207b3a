"""The site's own tables, which live beside Lavoro's in one database."""

from __future__ import annotations

from datetime import datetime, timezone

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of the site's tables."""


db = SQLAlchemy(model_class=Base)


def now() -> datetime:
    """Return the present as a time with its zone."""
    return datetime.now(timezone.utc)


class User(Base):
    """Someone who signed up."""

    __tablename__ = "site_user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    welcomed: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    reminded: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Job(Base):
    """What a visitor asked for; its ``id`` is that of the task which does it."""

    __tablename__ = "site_job"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    title: Mapped[str] = mapped_column(String(200))
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now, index=True)
    due: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Digest(Base):
    """What visitors did in the minutes before a time; a time has one digest, however often its task starts."""

    __tablename__ = "site_digest"

    id: Mapped[int] = mapped_column(primary_key=True)
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True), unique=True)
    people: Mapped[int]
    jobs: Mapped[int]
