"""Counts tasks however many there are: small tables as a whole, larger ones by a sample of their pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import REGCLASS

from lavoro import states
from lavoro.store.database import Database
from lavoro.store.errors import translated
from lavoro.store.schema.tables import tables_of
from lavoro.store.tx import Tx

PAGES = 1_000
"""Most pages of a table that a count reads: of a larger one it reads about so many, at random."""
LANE, LANES = 1_000, 1_000
"""Most tasks of a lane that are counted one by one, and most lanes, while many tasks wait."""
FEW = 30
"""Rows of a sample from which nothing is estimated."""
How = Literal["exact", "at_least", "estimated"]
Census = dict[Any, "Number"]


class Number(NamedTuple):
    """A number of tasks, and whether it is exact."""

    value: int
    how: How = "exact"

    def plus(self, other: Number) -> Number:
        """Add a number; the sum is as sure as the less sure of the two."""
        hows = {self.how, other.how}
        how: How = "estimated" if "estimated" in hows else "at_least" if "at_least" in hows else "exact"
        return Number(self.value + other.value, how)


NONE = Number(0)


class Waiting(NamedTuple):
    """The tasks that wait on a queue."""

    due: Number
    later: Number
    oldest: float | None
    """Seconds since the first of them was due."""


Key = Callable[[str, Any], Any]
"""Returns the value by which the rows of a table are counted, for the name of the table and its columns."""


def _state(table: str, c: Any) -> Any:
    match table:
        case "finished":
            return c.state
        case "running":
            return sa.func.coalesce(c.state, states.STARTED)
        case "held":
            return sa.cast(sa.literal(states.PENDING), sa.Text)
    return sa.case((c.retries > 0, states.RETRY), else_=states.PENDING)


def _stage(table: str, c: Any) -> Any:
    if table != "waiting":
        return sa.cast(sa.literal(table), sa.Text)
    return sa.case((c.due_at > sa.func.statement_timestamp(), "scheduled"), else_="waiting")


def _queue(table: str, c: Any) -> Any:
    return sa.cast(c.queue, sa.Text)


def _name(table: str, c: Any) -> Any:
    return sa.cast(c.name, sa.Text)


KEYS: Mapping[str, Key] = {"queue": _queue, "name": _name, "state": _state, "stage": _stage}


def count(database: Database, by: str) -> Census:
    """Count all tasks by their queue, name, state or stage."""
    tables = tables_of(database.schema)
    found: Census = {}
    with translated(), database.engine.connect() as connection:
        for table in (tables.waiting, tables.held, tables.running, tables.finished):
            for key, number in _counted(connection, table, KEYS[by]).items():
                found[key] = found.get(key, NONE).plus(number)
    return found


def running_and_held(database: Database) -> tuple[Census, Census]:
    """Count the tasks that run, and those that are held, by their queues."""
    tables = tables_of(database.schema)
    with translated(), database.engine.connect() as connection:
        running, held = (_counted(connection, table, _queue) for table in (tables.running, tables.held))
        return running, held


def waiting(database: Database) -> dict[str, Waiting]:
    """Count the tasks that wait, by their queues."""
    table = tables_of(database.schema).waiting
    with translated(), database.engine.connect() as connection:
        if share(connection, table.schema, table.name) == 1:
            return _all_waiting(connection, table.c)
        parts = _counted(connection, table, lambda name, c: sa.func.concat(_stage(name, c), ":", c.queue))
    with translated(), database.tx() as tx:
        return _lanes(tx, {key: number.value for key, number in parts.items()})


def _all_waiting(connection: sa.Connection, c: Any) -> dict[str, Waiting]:
    now = sa.func.statement_timestamp()
    due = c.due_at <= now
    age = sa.func.extract("epoch", now) - sa.func.extract("epoch", sa.func.min(c.due_at).filter(due))
    number = sa.func.count()
    rows = sa.select(c.queue, number.filter(due), number.filter(~due), sa.cast(age, sa.Double)).group_by(c.queue)
    return {
        queue: Waiting(Number(ready), Number(later), oldest) for queue, ready, later, oldest in connection.execute(rows)
    }


def _lanes(tx: Tx, sampled: Mapping[str, int]) -> dict[str, Waiting]:
    """Count lane by lane; where one is longer than what is counted, the sample says how long."""
    found: dict[str, Waiting] = {}
    for queue, due, due_cut, later, later_cut, oldest in tx.run("count_lanes", {"most": LANE, "lanes": LANES}):
        numbers = [
            _larger(counted, sampled.get(f"{stage}:{queue}", 0)) if cut else Number(counted)
            for stage, counted, cut in (("waiting", due, due_cut), ("scheduled", later, later_cut))
        ]
        found[queue] = Waiting(numbers[0], numbers[1], oldest)
    return found


def _larger(counted: int, sampled: int) -> Number:
    return Number(sampled, "estimated") if sampled > counted else Number(counted, "at_least")


def _counted(connection: sa.Connection, table: sa.Table, key: Key) -> Census:
    """Count the rows of a table by a key."""
    part = share(connection, table.schema, table.name)
    rows = sample(table, part)
    column = key(table.name, rows.c)
    query = sa.select(column, sa.func.count()).select_from(rows).group_by(column)
    return {
        key: Number(rows) if part == 1 else Number(round(rows / part), "estimated")
        for key, rows in connection.execute(query)
    }


def share(connection: sa.Connection, schema: str | None, table: str) -> float:
    """Return which share of the pages of a table a count reads; those of its partitions belong to it."""
    relation = sa.cast(sa.literal(f'"{schema}".{table}', sa.Text), REGCLASS)
    tree = sa.func.pg_partition_tree(relation).table_valued("relid")
    size = sa.func.coalesce(sa.func.sum(sa.func.pg_relation_size(tree.c.relid)), sa.func.pg_relation_size(relation))
    block = sa.cast(sa.func.current_setting("block_size"), sa.Integer)
    pages: int = connection.execute(sa.select(sa.cast(size, sa.BigInteger).op("/")(block))).scalar_one()
    return min(1.0, PAGES / max(pages, 1))


def sample(table: sa.Table, share: float) -> Any:
    """Return a table, or random pages of it."""
    return table if share == 1 else sa.tablesample(table, sa.func.system(sa.literal(100 * share, sa.Double)))


def scaled(rows: int, share: float) -> Number:
    """Return the number of rows of a table of whose pages a share has so many: few say only that there are so many."""
    if share == 1:
        return Number(rows)
    return Number(round(rows / share), "estimated") if rows >= FEW else Number(rows, "at_least")
