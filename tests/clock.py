"""A database whose clock can be set while workers run: its times are those of two functions that tests may change."""

from __future__ import annotations

import psycopg

from lavoro.store.schema.migrate import migrate

_FUNCTIONS = """
    create schema fake;
    create table fake.ahead as select 0::float8 as seconds;
    create function fake.clock_timestamp() returns timestamptz language sql volatile as
        'select pg_catalog.clock_timestamp() + seconds * interval ''1 second'' from fake.ahead';
    create function fake.statement_timestamp() returns timestamptz language sql stable as
        'select pg_catalog.statement_timestamp() + seconds * interval ''1 second'' from fake.ahead';
    do $$ begin
        execute format('alter database %I set search_path = fake, pg_catalog, public', current_database());
    end $$;
"""
_OURS = """
    do $$ declare f regprocedure; begin
        for f in select oid from pg_proc where pronamespace = 'lavoro'::regnamespace and prosecdef loop
            execute format('alter function %s set search_path = fake, pg_catalog, pg_temp', f);
        end loop;
    end $$;
"""


def make_settable(url: str) -> None:
    """Give an empty database such a clock, and Lavoro's schema, which is made by it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_FUNCTIONS)
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_OURS)


def set_ahead(url: str, seconds: float) -> None:
    """Set the clock ahead of the true time; less than before sets it back."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update fake.ahead set seconds = %s", (seconds,))
