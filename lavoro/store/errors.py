"""Errors of the database: those of a lost connection, those of a conflict, and their form in this package."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import sqlalchemy as sa
from psycopg import errors as pg

from lavoro.exceptions import InvalidCanvas, LavoroError, OperationalError, SchemaOutdated
from lavoro.text.commands import command

LOST = (
    psycopg.OperationalError, psycopg.InterfaceError, pg.ReadOnlySqlTransaction, pg.IdleInTransactionSessionTimeout,
)  # fmt: skip
"""Errors of psycopg when a connection is lost, cannot be made, or leads to a standby."""
CONFLICTS = (pg.SerializationFailure, pg.DeadlockDetected)
"""The server has rolled a transaction back because of another one; it may be repeated. LOST has these, too."""
OUTAGE = (*LOST, OSError, LavoroError)
"""The errors that a loop with a connection has to expect."""


def means_loss(error: BaseException) -> bool:
    """Return whether the connection is of no more use: conflicts are among LOST too, and leave it whole."""
    return isinstance(error, LOST) and not isinstance(error, CONFLICTS)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise psycopg's errors, also those that SQLAlchemy has wrapped, as this package's, with advice."""
    try:
        yield
    except psycopg.Error as error:
        raise _own_error(error) from error
    except sa.exc.DBAPIError as error:
        if isinstance(error.orig, psycopg.Error):
            raise _own_error(error.orig) from error.orig
        raise


def _own_error(error: psycopg.Error) -> SchemaOutdated | OperationalError | InvalidCanvas:
    if isinstance(error, (pg.UndefinedTable, pg.InvalidSchemaName, pg.UndefinedColumn, pg.UndefinedFunction)):
        return SchemaOutdated(
            f"the database lacks Lavoro's tables or has those of another release ({first_line(error)}):"
            f" run `{command('migrate')}`"
        )
    if isinstance(error, pg.InvalidParameterValue):
        return InvalidCanvas(first_line(error))
    if isinstance(error, pg.InsufficientPrivilege):
        advice = f"the database user lacks a right, see `{command('doctor', '--role', 'worker')}`"
        return OperationalError(f"the database refused this: {first_line(error)}: {advice}")
    if not means_loss(error):
        return OperationalError(f"the database refused this: {first_line(error)}")
    return OperationalError(f"the database did not answer: {first_line(_first(error))}")


def _first(error: BaseException) -> BaseException:
    """Return the error that led to this one: a connection that was given up fails again when it is handed back."""
    while isinstance(error.__context__, (psycopg.Error, sa.exc.DBAPIError)):
        error = error.__context__
    return error


def first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
