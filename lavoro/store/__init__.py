"""The room that knows SQL and no user code."""

from lavoro.exceptions import DriverNotFound

try:
    import psycopg as _psycopg  # noqa: F401
except ImportError as error:  # psycopg is there, and finds no libpq
    raise DriverNotFound(
        "psycopg finds no libpq, the library of PostgreSQL's clients: install 'lavoro[binary]', which brings one, or"
        " the system's (Debian: libpq5)"
    ) from error
