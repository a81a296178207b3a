"""Finds what is wrong with an application before it is deployed: settings, tasks, routes, serializers, schedules."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lavoro import serialization
from lavoro.beat.check import faults_of_code
from lavoro.beat.choosing import own_of
from lavoro.config import absent, spelling
from lavoro.exceptions import ImproperlyConfigured, QueueNotFound
from lavoro.monitoring.doctor.exam import Exam, Finding
from lavoro.text.plural import counted

_SETTING = "-- correct it where it is set, or leave it out"
_NO_TASKS = "-- name the modules that define them: settings include and imports, or app.autodiscover_tasks"


def settings(app: Any) -> Iterator[Finding]:
    """Every setting has a value that this release takes, and does what it says."""
    try:
        app.conf.check()
    except ImproperlyConfigured as error:
        for line in str(error).splitlines():
            yield _finding("setting", line, _SETTING)
    for line in absent.of_settings(app.conf.changes, "warned"):
        yield _finding("setting", line, "-- leave it out")


def tasks(app: Any) -> Iterator[Finding]:
    """There are tasks, and their options do what they say."""
    if not _own(app):
        yield Finding("tasks", app.main or "the application", "has no tasks", _NO_TASKS)
    effects: tuple[absent.Happens, ...] = ("refused", "warned")
    for happens in effects:
        for line in absent.of_tasks(app.tasks.values(), happens):
            yield _finding("task option", line, "-- leave the option out")
    try:
        app.check_structure()
    except ImproperlyConfigured as error:
        yield Finding("resource", app.main or "the application", str(error), "-- define it, or correct its name")


def limits(app: Any) -> Iterator[Finding]:
    """A soft time limit ends before the hard one."""
    for task in _own(app):
        soft, hard = task.soft_time_limit, task.time_limit
        if soft and hard and soft >= hard:
            problem = f"has a soft time limit of {soft:g} s, which the hard one of {hard:g} s comes before"
            yield Finding("time limit", task.name, problem, "-- make soft_time_limit shorter than time_limit")


def routes(app: Any) -> Iterator[Finding]:
    """Each task has a queue, and each route has a task."""
    try:
        router = app.site.builders.router
    except (ImproperlyConfigured, ValueError) as error:
        yield Finding("route", "task_routes", str(error), "-- correct task_routes or task_queues")
        return
    for task in _own(app):
        try:
            app.site.builders.routed(task, task.name, (), {}, {})
        except (ImproperlyConfigured, QueueNotFound, ValueError) as error:
            words = str(error.args[0]) if error.args else type(error).__name__
            yield Finding("route", task.name, words, "-- correct the task's queue, or task_routes")
    for name in router.unused([task.name for task in app.tasks.values()]):
        yield Finding("route", name, "routes no task of this application", "-- correct the name in task_routes")


def serializers(app: Any) -> Iterator[Finding]:
    """Each serializer is there, and workers take what it writes."""
    for task in _own(app):
        for option, accepted in (
            ("serializer", app.conf.accept_content),
            ("result_serializer", app.conf.result_accept_content or app.conf.accept_content),
        ):
            name = getattr(task, option)
            try:
                encoded = serialization.encode(None, name)
            except (ImproperlyConfigured, TypeError, ValueError) as error:
                repair = "-- install its library, or register it: lavoro.serialization.register"
                yield Finding("serializer", task.name, f"has the {option} {name!r}: {error}", repair)
                continue
            if name != "json" and not {name, encoded.content_type} & set(accepted):
                problem = f"has the {option} {name!r}, which accept_content does not allow to be read"
                yield Finding("serializer", task.name, problem, f"-- add {name!r} to accept_content")


def schedules(app: Any) -> Iterator[Finding]:
    """Each schedule of code can be used, and so can the scheduler class."""
    try:
        own_of(app)
    except ImproperlyConfigured as error:
        yield Finding("schedule", "beat_scheduler", str(error), "-- correct beat_scheduler, or leave it out")
        return  # its class reads the entries
    for fault in faults_of_code(app):
        yield Finding("schedule", fault.name, fault.problem, "-- correct the entry in code")


CHECKS: Sequence[Callable[[Any], Iterator[Finding]]] = (settings, tasks, limits, routes, serializers, schedules)
"""In the order in which their findings are printed."""


def stored_tasks(app: Any, exam: Exam) -> Iterator[Finding]:
    """The application has each task that waits on its queues: a release that renames one leaves its calls behind."""
    known, queues = frozenset(app.tasks), _queues(app)
    for name, queue, count in exam.rows("called_names"):
        if name not in known and queue in queues:
            near = spelling.nearest(name, known)
            meant = f"did you mean {near!r}? " if near else ""
            waits = counted(count, "task waits", "tasks wait")
            problem = f"{waits} on the queue {queue}, and this application has no such task"
            repair = "keep the name until they have run, or let another worker have it"
            yield Finding("stored task", name, problem, f"-- {meant}{repair}")


def _queues(app: Any) -> set[str]:
    """Return the queues that the application serves by itself, and those that its tasks go to."""
    found = {*app.queues}
    for task in _own(app):
        with contextlib.suppress(ImproperlyConfigured, QueueNotFound, ValueError):  # a finding of the code
            found.add(app.site.builders.routed(task, task.name, (), {}, {}).get("queue"))
    return found


def examine_code(app: Any) -> list[Finding]:
    """Make all checks that need no database; the modules of the tasks have been imported."""
    return [finding for check in CHECKS for finding in check(app)]


def _own(app: Any) -> list[Any]:
    return sorted((task for task in app.tasks.values() if not task.name.startswith("celery.")), key=lambda t: t.name)


def _finding(check: str, sentence: str, repair: str) -> Finding:
    """Take a sentence apart: its first word names the setting or the option."""
    which, _, problem = sentence.partition(" ")
    return Finding(check, which.rstrip(":"), problem, repair)
