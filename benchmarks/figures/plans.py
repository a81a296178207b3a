"""Whether the statements keep their plans whatever ANALYZE or VACUUM saw last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from benchmarks.stage.processes import migrate
from benchmarks.stage.server import empty_database
from benchmarks.subjects.desk import Desk
from benchmarks.values import Sample, Series, Setting, Step

TASKS = 50_000
FILL = "fill"
TABLES = "lavoro.waiting, lavoro.running, lavoro.finished"
MOMENTS: dict[str, tuple[str, ...]] = {
    "tables as created": (FILL,),
    "after ANALYZE of empty tables": (f"analyze {TABLES}", FILL),
    "after ANALYZE of full tables": (FILL, f"analyze {TABLES}"),
    "after VACUUM of full tables": (FILL, f"vacuum {TABLES}"),
    "after VACUUM and ANALYZE of emptied tables": (f"vacuum (analyze) {TABLES}", FILL),
}
"""What happens before each measurement; each begins with nothing waiting."""


def steps(setting: Setting) -> list[Step]:
    """Measure all moments one after the other, on a connection that lived through them and on new ones."""
    return [partial(_lavoro, setting, "same connection"), partial(_lavoro, setting, "new connection")]


def _lavoro(setting: Setting, connection: str) -> list[Sample | Series]:
    count = setting.scaled(TASKS)
    rates: dict[str, float] = {}
    with empty_database(setting.server) as dsn:
        migrate(dsn)
        with closing(Desk(dsn)) as lasting:
            for moment, actions in MOMENTS.items():
                with _desk(dsn, lasting, new=connection == "new connection") as desk:
                    rates[moment] = _rate(desk, actions, count)
    first = rates["tables as created"]
    return [
        sample
        for moment, rate in rates.items()
        for sample in (
            Sample("lavoro", f"claim + finish, {moment}, {connection}", "tasks/s", rate),
            Sample("lavoro", f"claim + finish, {moment}, {connection}, of the first", "ratio", rate / first),
        )
    ]


@contextmanager
def _desk(dsn: str, lasting: Desk, *, new: bool) -> Iterator[Desk]:
    if not new:
        yield lasting
        return
    with closing(Desk(dsn)) as desk:
        yield desk


def _rate(desk: Desk, actions: tuple[str, ...], count: int) -> float:
    for action in actions:
        if action == FILL:
            desk.refill(count)
        else:
            desk.tx.connection.execute(action.encode())
    return desk.rate(count)
