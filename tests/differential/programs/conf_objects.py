"""Where configuration comes from: objects, classes, modules, namespaces, old names, and `conf` as a mapping."""

import sys
import types

from celery import Celery
from record import attempt, say

POOLS = ()


def new(**options):
    return Celery("conf_objects", set_as_current=False, **options)


def module(name, **values):
    made = types.ModuleType(name)
    vars(made).update(values)
    sys.modules[name] = made
    return name


class Settings:
    task_default_queue = "from class"
    task_serializer = "pickle"
    own_thing = 5
    UPPER_THING = 6


class Namespaced:
    CELERY_TASK_DEFAULT_QUEUE = "from namespace"
    CELERY_TASK_ALWAYS_EAGER = True
    CELERY_OWN_THING = 7
    TASK_SERIALIZER = "not read"
    OTHER = 8


class Old:
    CELERY_DEFAULT_QUEUE = "old"
    CELERY_ALWAYS_EAGER = True
    CELERYD_CONCURRENCY = 3
    CELERY_TASK_SERIALIZER = "pickle"
    CELERYD_TASK_TIME_LIMIT = 30
    CELERY_IMPORTS = ("a", "b")
    CELERY_TIMEZONE = "Europe/Rome"
    CELERY_TASK_RESULT_EXPIRES = 60
    CELERY_IGNORE_RESULT = True
    CELERYD_PREFETCH_MULTIPLIER = 1
    CELERY_ROUTES = {"a": {"queue": "b"}}


class Mixed:
    CELERY_DEFAULT_QUEUE = "old"
    task_serializer = "json"


def part_class():
    app = new()
    app.config_from_object(Settings)
    attempt("class.queue", lambda: app.conf.task_default_queue)
    attempt("class.own", lambda: app.conf.own_thing)
    attempt("class.upper", lambda: app.conf.UPPER_THING)
    attempt("class.item", lambda: app.conf["own_thing"])


def part_instance():
    app = new()
    app.config_from_object(Settings())
    attempt("instance.queue", lambda: app.conf.task_default_queue)


def part_dict():
    app = new()
    app.config_from_object({"task_default_queue": "from dict", "own": 1})
    attempt("dict.queue", lambda: (app.conf.task_default_queue, app.conf.own))


def part_module():
    app = new()
    app.config_from_object(module("conf_module", task_default_queue="from module"))
    attempt("module.queue", lambda: app.conf.task_default_queue)
    app = new()
    app.config_from_object(module("conf_module2", inner=Settings) + ":inner")
    attempt("module attribute.queue", lambda: app.conf.task_default_queue)
    app = new()
    attempt("missing module", lambda: app.config_from_object("no_such_module"))
    attempt("missing module.conf", lambda: app.conf.task_default_queue)
    app = new()
    attempt("missing silent", lambda: app.config_from_object("no_such_module", silent=True))
    attempt("missing silent.conf", lambda: app.conf.task_default_queue)
    app = new()
    attempt("missing forced", lambda: app.config_from_object("no_such_module", force=True))


def part_namespace():
    app = new()
    app.config_from_object(Namespaced, namespace="CELERY")
    attempt("namespace.queue", lambda: app.conf.task_default_queue)
    attempt("namespace.eager", lambda: app.conf.task_always_eager)
    attempt("namespace.serializer", lambda: app.conf.task_serializer)
    attempt("namespace.own", lambda: app.conf.own_thing)
    attempt("namespace.other", lambda: app.conf.OTHER)
    attempt("namespace.prefixed", lambda: app.conf.CELERY_OWN_THING)
    app = new(namespace="CELERY")
    app.config_from_object(Namespaced)
    attempt("namespace of app.queue", lambda: app.conf.task_default_queue)
    app = new()
    app.config_from_object(
        {"celery_task_default_queue": "lower", "CELERY_TASK_SERIALIZER": "pickle"}, namespace="celery"
    )
    attempt("namespace lower", lambda: (app.conf.task_default_queue, app.conf.task_serializer))


def part_old():
    app = new()
    app.config_from_object(Old)
    for name in (
        "task_default_queue task_always_eager worker_concurrency task_serializer task_time_limit imports timezone"
        " result_expires task_ignore_result worker_prefetch_multiplier task_routes"
    ).split():
        attempt(f"old.{name}", getattr, app.conf, name)
    for name in "CELERY_DEFAULT_QUEUE CELERYD_CONCURRENCY CELERY_ALWAYS_EAGER CELERY_RESULT_SERIALIZER".split():
        attempt(f"old name.{name}", getattr, app.conf, name)
        attempt(f"old item.{name}", lambda name=name: app.conf[name])
    plain = new()
    attempt("old read", lambda: plain.conf.CELERY_DEFAULT_QUEUE)
    plain.conf.update(CELERY_DEFAULT_QUEUE="updated", CELERYD_CONCURRENCY=4)
    attempt("old updated", lambda: (plain.conf.task_default_queue, plain.conf.worker_concurrency))
    plain.conf.CELERY_DEFAULT_QUEUE = "set"
    attempt("old set", lambda: plain.conf.task_default_queue)
    mixed = new()
    mixed.config_from_object(Mixed)
    attempt("mixed", lambda: mixed.conf.task_default_queue)
    mixed = new()
    mixed.conf.update({"CELERY_DEFAULT_QUEUE": "flask", "task_serializer": "json", "DEBUG": True, "SECRET_KEY": "s"})
    attempt("mixed update", lambda: (mixed.conf.task_default_queue, mixed.conf.DEBUG))


def part_mapping():
    app = new()
    conf = app.conf
    attempt("update", lambda: conf.update({"task_default_queue": "a"}, own=1))
    attempt("read", lambda: (conf.task_default_queue, conf["own"], conf.own, conf.get("own"), conf.get("none")))
    conf["task_serializer"] = "pickle"
    conf.result_serializer = "yaml"
    attempt("set", lambda: (conf.task_serializer, conf["result_serializer"]))
    attempt("setdefault", lambda: (conf.setdefault("own", 5), conf.setdefault("new", 6), conf.new))
    attempt("setdefault known", lambda: conf.setdefault("task_acks_late", "x"))
    attempt("in", lambda: ("own" in conf, "task_time_limit" in conf, "nothing" in conf))
    attempt("pop", lambda: conf.pop("own"))
    attempt("items", lambda: dict(conf.items())["task_default_queue"])
    attempt("keys", lambda: {"task_default_queue", "new"} <= set(conf.keys()))
    attempt("iter", lambda: "task_serializer" in [*conf])
    attempt("len", lambda: len(conf) > 100)
    attempt("changes", lambda: dict(conf.changes))
    attempt("beat_schedule is live", lambda: conf.beat_schedule.update(x={}) or "x" in conf.beat_schedule)
    attempt("beat_schedule item", lambda: conf["beat_schedule"].__setitem__("y", {}) or sorted(conf.beat_schedule))
    attempt("table", lambda: conf.table(with_defaults=False, censored=True).get("task_default_queue"))
    attempt("table censored", lambda: conf.table(with_defaults=True, censored=True).get("security_key"))
    attempt("humanize", lambda: "task_default_queue" in conf.humanize(with_defaults=False, censored=True))
    attempt("without_defaults", lambda: conf.without_defaults().get("task_default_queue"))
    attempt("find_option", lambda: type(conf.find_option("task_acks_late")).__name__)
    attempt("find_value_for_key", lambda: conf.find_value_for_key("default_queue", "task"))
    attempt("get_by_parts", lambda: conf.get_by_parts("task", "default_queue"))
    attempt("value_set_for", lambda: conf.value_set_for("task_default_queue"))
    attempt("clear", conf.clear)
    attempt("delete", lambda: conf.__delitem__("new"))
    app.conf = {"task_default_queue": "assigned"}
    attempt("assigned", lambda: app.conf.task_default_queue)


def part_app():
    app = new(task_default_queue="by keyword", task_serializer="pickle", own=3)
    attempt("keywords", lambda: (app.conf.task_default_queue, app.conf.task_serializer, app.conf.own))
    app = new(changes={"task_default_queue": "by changes"})
    attempt("changes", lambda: app.conf.task_default_queue)
    app = new(config_source={"task_default_queue": "by source"})
    attempt("config_source", lambda: app.conf.task_default_queue)
    app = new(include=["a", "b"])
    attempt("include", lambda: app.conf.include)
    app = new()
    app.add_defaults({"task_default_queue": "by defaults", "own": 4})
    attempt("add_defaults", lambda: (app.conf.task_default_queue, app.conf.own))
    app.add_defaults(lambda: {"task_serializer": "yaml"})
    attempt("add_defaults lazy", lambda: app.conf.task_serializer)
    app.conf.task_default_queue = "wins"
    attempt("over defaults", lambda: app.conf.task_default_queue)
    app = new()
    attempt("config_from_envvar", lambda: app.config_from_envvar("NO_SUCH_VARIABLE"))
    attempt("config_from_envvar silent", lambda: app.config_from_envvar("NO_SUCH_VARIABLE", silent=True))
    attempt("either", lambda: (app.either("task_default_queue", "x"), app.either("task_time_limit", None, 5)))
    attempt("configured", lambda: app.configured)
    attempt("timezone", lambda: str(app.timezone))
    attempt("uses_utc_timezone", lambda: app.uses_utc_timezone())
    attempt("now", lambda: app.now().utcoffset())
    app = new(timezone="Europe/Rome", enable_utc=False)
    attempt("timezone own", lambda: str(app.timezone))
    attempt("now own", lambda: app.now().tzinfo is not None)


def part_lazy():
    seen = []

    class Lazy:
        @property
        def task_default_queue(self):
            seen.append("read")
            return "lazy"

    app = new()
    app.config_from_object(Lazy())
    say("not read yet", seen)
    attempt("read now", lambda: app.conf.task_default_queue)
    said = []
    app = new()
    app.on_configure.connect(lambda **kwargs: said.append("on_configure"), weak=False)
    app.on_after_configure.connect(lambda **kwargs: said.append("on_after_configure"), weak=False)
    app.on_after_finalize.connect(lambda **kwargs: said.append("on_after_finalize"), weak=False)
    app.conf.task_default_queue
    app.finalize()
    say("signals", said)
    app = new()
    attempt("before", lambda: app.conf.update(task_default_queue="early"))
    app.config_from_object({"task_default_queue": "later", "own": 1})
    attempt("after", lambda: app.conf.task_default_queue)
