"""An entry: a task, its schedule, and the rules for ticks that are missed or that meet a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from lavoro.config import spelling
from lavoro.config.defaults import as_seconds
from lavoro.schedules.base import BaseSchedule, zone_of
from lavoro.schedules.interval import schedule as interval
from lavoro.schedules.phrases import maybe_schedule

FLOOR = 0.1
"""The shortest interval in seconds."""
MISSED = ("skip", "once", "all")
OVERLAP = ("skip", "allow", "queue", "cancel")


class Rules(NamedTuple):
    """The options of an entry beside those of the call."""

    missed: str = "once"
    """Ticks of a time without worker: ``skip`` them, send the last one (``once``), or ``all``."""
    missed_most: int = 100
    """The most ticks that ``all`` sends; older ones are skipped."""
    missed_age: float | None = None
    """The age in seconds of the oldest tick that ``all`` sends."""
    overlap: str = "skip"
    """If the task of the last tick has not ended: ``skip`` the tick, ``allow`` both, ``queue`` one, ``cancel`` it."""
    jitter: float = 0.0
    """Each tick comes up to so many seconds later, at random."""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    most_runs: int | None = None


class Entry(NamedTuple):
    """A task that is sent again and again."""

    name: str
    task: str
    schedule: BaseSchedule
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = {}
    options: Mapping[str, Any] = {}
    rules: Rules = Rules()


class BeatLazyFunc:
    """An argument that is computed at each tick: the function is called then, with these arguments::

    "args": [BeatLazyFunc(time.time)]
    """

    def __init__(self, func: Any, *args: Any, **kwargs: Any) -> None:
        self._func = func
        self._func_params: dict[str, Any] = {"args": args, "kwargs": kwargs}

    def __call__(self) -> Any:
        return self.delay()

    def delay(self) -> Any:
        """Call the function now."""
        return self._func(*self._func_params["args"], **self._func_params["kwargs"])


SPELLINGS = {"start": "starts_at", "end": "ends_at"}
RULES = (*Rules._fields, *SPELLINGS, "relative", "tz")
"""The keys of an entry beside its task and its call."""
_KEYS = ("task", "schedule", "args", "kwargs", "options", *RULES)


def entry_of(name: str, given: Mapping[str, Any], app: Any) -> Entry:
    """Read an entry of ``beat_schedule``; raises ``ValueError`` or ``TypeError`` that names the entry and the key."""
    if unknown := [key for key in given if key not in _KEYS]:
        near = spelling.nearest(unknown[0], frozenset(_KEYS))
        raise ValueError(
            f"the schedule {name!r} has an unknown key {unknown[0]!r}"
            + (f": write {near!r}" if near else f": the keys are {', '.join(_KEYS)}")
        )
    try:
        task = given["task"]
        when = scheduled(given.get("schedule"), relative=bool(given.get("relative")), tz=given.get("tz"), app=app)
        rules = rules_of({key: given[key] for key in given if key in (*Rules._fields, *SPELLINGS)}, when)
    except KeyError:
        raise ValueError(f"the schedule {name!r} names no task: give it 'task'") from None
    except Exception as error:
        raise ValueError(f"the schedule {name!r} cannot be used: {error}") from error
    return Entry(
        name, str(getattr(task, "name", task)), when, tuple(given.get("args") or ()), dict(given.get("kwargs") or {}),
        dict(given.get("options") or {}), rules,
    )  # fmt: skip


def scheduled(given: Any, *, relative: bool = False, tz: Any = None, app: Any = None) -> Any:
    """Return the schedule of a number of seconds, a timedelta, a text or a schedule; raises ``ValueError``."""
    if given is None:
        raise ValueError("it has no 'schedule'")
    made = maybe_schedule(given, relative, app=app)
    if not callable(getattr(made, "is_due", None)):
        raise ValueError(f"{given!r} is no schedule: give seconds, a timedelta, a text, or a schedule")
    if tz is not None:
        made = _copy(made)  # another entry may have the same object, in another zone
        made._tz = zone_of(tz)
    if type(made) is interval and made.run_every.total_seconds() < FLOOR:
        raise ValueError(f"an interval is at least {FLOOR} s, not {made.run_every.total_seconds():g} s")
    return made


def _copy(schedule: Any) -> Any:
    """Copy a schedule as it is: a class of one's own may have another constructor than its base."""
    made = object.__new__(type(schedule))
    vars(made).update(vars(schedule))
    return made


def rules_of(given: Mapping[str, Any], when: Any) -> Rules:
    """Return the rules of an entry; raises ``ValueError`` for a wrong one."""
    named = {SPELLINGS.get(key, key): value for key, value in given.items() if value is not None}
    for key in ("jitter", "missed_age"):
        if key in named:
            named[key] = as_seconds(named[key])
    rules = Rules(**named)
    for key, allowed in (("missed", MISSED), ("overlap", OVERLAP)):
        if getattr(rules, key) not in allowed:
            raise ValueError(f"{key} must be one of {', '.join(allowed)}, not {getattr(rules, key)!r}")
    if rules.missed == "all" and rules.overlap == "cancel":
        raise ValueError("missed='all' sends ticks that overlap='cancel' would cancel at once: choose one of them")
    for key in ("missed_most", "most_runs"):
        number = getattr(rules, key)
        if number is not None and not (type(number) is int and number > 0):
            raise ValueError(f"{key} must be a whole number above 0, not {number!r}")
    if not rules.jitter >= 0:
        raise ValueError(f"jitter must be a number of seconds, 0 or more, not {rules.jitter!r}")
    if type(when) is interval and rules.jitter > 0 and rules.jitter >= when.run_every / timedelta(seconds=1):
        raise ValueError(f"jitter ({rules.jitter:g} s) must be shorter than the interval")
    return rules._replace(starts_at=_aware(rules.starts_at, "start", when), ends_at=_aware(rules.ends_at, "end", when))


def _aware(given: Any, key: str, when: Any) -> datetime | None:
    if given is None:
        return None
    if isinstance(given, str):
        given = datetime.fromisoformat(f"{given[:-1]}+00:00" if given.endswith(("Z", "z")) else given)
    if not isinstance(given, datetime):
        raise ValueError(f"{key} must be a datetime or its ISO text, not {given!r}")
    return given if given.tzinfo is not None else given.replace(tzinfo=when.tz)
