"""The schedules of an application as its code and the command line see them: ``app.schedules``."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lavoro.beat.by_hand import Backfill, backfill, run
from lavoro.beat.entries import check_call, entries_of, row_of, synchronise
from lavoro.beat.nominal import schedule_as_stored, upcoming_of
from lavoro.calling.publish_signals import tell_published
from lavoro.calling.transactions import joined
from lavoro.config import spelling
from lavoro.exceptions import ScheduleError, ScheduleNotFound
from lavoro.schedules.entry import SPELLINGS, Entry, Rules, entry_of
from lavoro.store import entries as store
from lavoro.store.entries import LockedSchedule, PastTick, StoredSchedule
from lavoro.store.errors import translated
from lavoro.store.schedules import Defined
from lavoro.store.tx import Tx
from lavoro.text.commands import command

logger = logging.getLogger("lavoro.beat")

PAGE = 1000
"""Schedules that one statement reads."""
LONGEST = 200
"""Most characters of a name."""
FEW = 10
"""Most schedules whose names an error lists."""
_CALL = frozenset({"schedule", "tz", "relative", "task", "args", "kwargs", "options"})
"""The parts that a schedule of Python objects has in code alone."""


class Schedules:
    """The schedules in the database of an application: ``app.schedules``.

    Inside a block ``app.transaction(...)`` every method works in the transaction of that block: a change is in effect
    when it commits, at most a second later. Outside each method is a transaction of its own. ``define`` never joins.
    Those that change or run schedules need the rights of the role ``worker``.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    # Definitions

    def define(self) -> Defined:
        """Store the entries of the application's code, as a worker does when it starts; return the changes."""
        with self._app.database.tx() as tx:
            return synchronise(self._app, tx)

    def create(
        self, name: str, schedule: Any, task: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None,
        *, options: Mapping[str, Any] | None = None, replace: bool = False, paused: bool = False, **rules: Any,
    ) -> StoredSchedule:  # fmt: skip
        """Store a schedule and return it.

        ``schedule`` is a schedule, seconds, a timedelta or a text; ``options`` are those of the call; ``rules`` are
        ``missed``, ``missed_most``, ``missed_age``, ``overlap``, ``jitter``, ``start``, ``end``, ``most_runs``, ``tz``
        and ``relative``. With ``replace`` one of that name is changed, which keeps its state. Raises ``ScheduleError``
        for a wrong definition, and for a name that is taken::

            app.schedules.create("sales report", "0 9 * * mon-fri", report, ["sales"], tz="Europe/Rome")
        """
        given = {
            "schedule": schedule, "task": task, "args": args, "kwargs": kwargs or {}, "options": options or {}, **rules,
        }  # fmt: skip
        _check_name(name)
        entry = self._entry(name, given)
        with self._transaction() as tx:
            return self._store(tx, entry, replace=replace, paused=paused)

    def change(self, name: str, **changes: Any) -> StoredSchedule:
        """Change a schedule and return it; the parts that are not named stay. None gives a rule its usual value back.

        The parts are those of ``create``. The next tick is computed anew if its times change, and otherwise stays. A
        schedule of code belongs to the interface from then on, until it is deleted: code changes it no longer::

            app.schedules.change("sales report", schedule="0 8 * * mon-fri", overlap="allow")
        """
        with self._transaction() as tx:
            found = self._locked(tx, name).stored
            entry = self._entry(name, {**self._given(found, changes), **changes}, keeps_code=not _CALL & changes.keys())
            return self._store(tx, entry, replace=True, paused=False)

    def pause(self, *names: str) -> None:
        """Let no tick of these schedules come until they are resumed; ticks of the time between are not caught up."""
        self._each("pause_schedules", names)

    def resume(self, *names: str) -> None:
        """Let the ticks of these schedules come again, from now on; also where an error has ended them."""
        self._each("resume_schedules", names)

    def delete(self, *names: str) -> None:
        """Delete these schedules; their past ticks stay. The next worker that starts stores those of code again."""
        self._each("delete_schedules", names)

    # Runs by hand

    def run(self, name: str, *, overlap: str | None = None) -> Any:
        """Send the task of a schedule now, and return its result; the next tick comes as without it.

        A paused schedule can be run, too. The run is in the history, and does not count among ``most_runs``. While the
        task of the last tick has not ended, the rule for the overlap holds, or the one given here: with ``skip``
        ``ScheduleError`` is raised. ``cancel`` ends the other task at once, whether or not the transaction commits.
        """
        shown: list[Any] = []
        with self._transaction(shown) as tx:
            found = self._locked(tx, name)
            self._warn_of_unknown(name, found.stored.task, "a worker that knows it has to run it")
            return run(self._app, tx, found, self._code(found.stored), overlap=overlap, shown=shown)

    def backfill(
        self, name: str, start: dt.datetime, end: dt.datetime, *, preview: bool = False, most: int = 1000,
        overlap: str | None = None, forgotten: bool = False,
    ) -> Backfill:  # fmt: skip
        """Send the task for each nominal time from ``start`` to ``end`` for which it has not been sent.

        These are times of the present definition that have passed; ticks that were skipped or failed are replaced. The
        tasks run one after the other, or at once with ``overlap="allow"``. With ``preview`` nothing is sent. Raises
        ``ScheduleError`` for more than ``most`` times, and for a start from before the ticks that are kept (setting
        ``lavoro_tick_expires``), for which tasks may have been sent: ``forgotten`` allows that.
        """
        shown: list[Any] = []
        with self._transaction(shown) as tx:
            found = self._locked(tx, name)
            start, end = self._span(found, start, end, forgotten=forgotten)
            wanted = Backfill.between(self._app, found, self._code(found.stored), start, end, most=most)
            wanted = wanted.without(store.sent(tx, name, start, end))
            if preview or not wanted.times:
                return wanted
            return backfill(self._app, tx, found, self._code(found.stored), wanted, overlap=overlap, shown=shown)

    # Questions

    def get(self, name: str) -> StoredSchedule:
        """Return a schedule; raises ``ScheduleNotFound``."""
        with self._reading() as tx:
            found = store.listed(tx, [name])
            return found[0] if found else self._missing(tx, name)

    def __iter__(self) -> Iterator[StoredSchedule]:
        """Yield all schedules in the order of their names, a thousand per statement."""
        after = ""
        while True:
            with self._reading() as tx:
                page = store.listed(tx, None, after=after, limit=PAGE)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].name

    def list(self) -> Sequence[StoredSchedule]:
        """Return all schedules in the order of their names."""
        return [*self]

    def upcoming(self, name: str, count: int = 5) -> Sequence[dt.datetime]:
        """Return the next nominal times of a schedule, in UTC, as if it were not paused; fewer if it ends before."""
        with self._reading() as tx:
            found = store.listed(tx, [name])
            stored = found[0] if found else self._missing(tx, name)
        times = upcoming_of(self._app, stored, self._code(stored))
        return [*itertools.islice(times, count)]

    def history(self, name: str, limit: int = 100, *, before: dt.datetime | None = None) -> Sequence[PastTick]:
        """Return the last ticks of a schedule, the latest first, as long as they are kept; also of a deleted one."""
        with self._reading() as tx:
            return store.history(tx, name, before=before, limit=limit)

    # The database

    @contextlib.contextmanager
    def _transaction(self, shown: Sequence[Any] = ()) -> Iterator[Tx]:
        """Join the transaction of a block around the call, else begin one, after which what is ``shown`` is told."""
        connection = joined(self._app)
        if connection is not None:
            with translated():
                yield self._app.site.database.join(connection)
            return
        with self._app.database.tx() as tx, tx.connection.transaction():
            yield tx
        tell_published([*shown])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Tx]:
        connection = joined(self._app)
        if connection is not None:
            with translated():
                yield self._app.site.database.join(connection)
            return
        with self._app.database.tx() as tx:
            yield tx

    def _each(self, statement: str, names: Sequence[str]) -> None:
        """Do it to all, or to none if one of them does not exist."""
        with self._transaction() as tx:
            found = {each.name for each in store.listed(tx, names)}
            for name in names:
                if name not in found:
                    self._missing(tx, name)
            store.do(tx, statement, names)

    def _store(self, tx: Tx, entry: Entry, *, replace: bool, paused: bool) -> StoredSchedule:
        row = row_of(entry, self._app)
        if not store.store(tx, row, app=self._app.main, replace=replace, paused=paused):
            raise ScheduleError(
                f"there is a schedule of the name {entry.name!r} already: change it, or create it with replace=True"
                " (--replace)"
            )
        return store.listed(tx, [entry.name])[0]

    def _locked(self, tx: Tx, name: str) -> LockedSchedule:
        found = store.locked(tx, name)
        return found if found is not None else self._missing(tx, name)

    def _missing(self, tx: Tx, name: str) -> Any:
        known = [each.name for each in store.listed(tx, None, limit=PAGE)]
        near = _nearest(name, known)
        if near:
            hint = f"did you mean {near!r}?"
        elif len(known) > FEW:
            hint = f"`{command('schedule', 'list')}` shows the names"
        else:
            names = ", ".join(map(repr, known)) or "no schedule yet"
            hint = f"it has {names} (`{command('schedule', 'list')}`)"
        raise ScheduleNotFound(f"there is no schedule {name!r} in the database: {hint}")

    # Definitions

    def _entry(self, name: str, given: Mapping[str, Any], *, keeps_code: bool = False) -> Entry:
        """Read a definition; raises ``ScheduleError``."""
        try:
            entry = entry_of(name, given, self._app)
            in_code = row_of(entry, self._app).in_code
            check_call(entry, self._app)
        except ScheduleError:
            raise
        except (ValueError, TypeError) as error:
            raise ScheduleError(str(error)) from error
        if in_code and not keeps_code:
            raise ScheduleError(
                f"the schedule {name!r} has times or arguments that no row can keep, such as a class of one's own:"
                " define it in code (app.add_periodic_task), or give texts and values of JSON"
            )
        self._warn_of_unknown(name, entry.task, "its ticks come when a worker knows it")
        return entry

    def _warn_of_unknown(self, name: str, task: str, effect: str) -> None:
        if task not in self._app.tasks:
            logger.warning(
                "the schedule %r is for the task %r, which this application does not know: %s", name, task, effect
            )

    def _given(self, found: StoredSchedule, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the definition of a stored schedule as an entry of ``beat_schedule``."""
        rules = {name: getattr(found, name) for name in Rules._fields}
        taken = {SPELLINGS.get(key, key) for key in changes}
        rules = {name: value for name, value in rules.items() if name not in taken}
        code = self._code(found)
        if code is not None:
            return {
                "task": code.task, "schedule": code.schedule, "args": code.args, "kwargs": code.kwargs,
                "options": code.options, **rules,
            }  # fmt: skip
        if getattr(changes.get("schedule"), "_tz", None) is None:  # it names no zone itself
            rules["tz"] = found.zone
        return {
            "task": found.task, "schedule": found.timing, "args": found.args, "kwargs": found.kwargs,
            "options": found.options, **rules,
        }  # fmt: skip

    def _code(self, found: StoredSchedule) -> Entry | None:
        """Return the entry of code for a schedule that only code has; raises ``ScheduleError`` if it is elsewhere."""
        if not found.in_code:
            return None
        entry = entries_of(self._app).usable.get(found.name)
        if entry is None:
            raise ScheduleError(
                f"only the code of the application {found.app!r} has the times and arguments of the schedule"
                f" {found.name!r}: use that application (-A)"
            )
        return entry

    def _span(
        self, found: LockedSchedule, start: dt.datetime, end: dt.datetime, *, forgotten: bool
    ) -> tuple[dt.datetime, dt.datetime]:
        """Return the two times with a zone, the second no later than now; raises ``ScheduleError``."""
        zone = schedule_as_stored(self._app, found.stored, self._code(found.stored)).tz
        first, last = (each if each.tzinfo is not None else each.replace(tzinfo=zone) for each in (start, end))
        if first > last:
            raise ScheduleError(f"the start of a backfill, {first.isoformat()}, is after its end, {last.isoformat()}")
        kept = self._app.conf.seconds("lavoro_tick_expires")
        if kept and not forgotten and first < found.now - dt.timedelta(seconds=kept):
            raise ScheduleError(
                f"ticks are kept for {kept / 86400:g} days (setting lavoro_tick_expires), and tasks may have been"
                f" sent at times before: begin later than {first.isoformat()}, or allow it (forgotten=True,"
                " --forgotten)"
            )
        return first, min(last, found.now)


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the name that is probably meant: a similar one, or the only one with the same last part."""
    same = [each for each in known if each.rpartition(".")[2] == str(name).rpartition(".")[2]]
    return spelling.nearest(name, frozenset(known)) or (same[0] if len(same) == 1 else None)


def _check_name(name: Any) -> None:
    """Raise ``ScheduleError`` for a name that is empty, too long, or no text of PostgreSQL's."""
    if not isinstance(name, str) or not name or "\0" in name or len(name) > LONGEST:
        raise ScheduleError(f"the name of a schedule is a text of 1 to {LONGEST} characters, not {name!r:.300}")
