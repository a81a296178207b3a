"""Every setting that Celery knows, with its default, and the ways in which settings are found."""

from celery import Celery
from record import attempt, say

POOLS = ()

DOCUMENTED = {
    "override_backends",
    "redis_backend_credential_provider",
    "redis_backend_health_check_interval",
    "redis_client_name",
    "result_backend_thread_safe",
}
"""Celery's manual has these settings, and its table of defaults does not."""


class Django:
    CELERY_TASK_TRACK_STARTED = True
    CELERY_ALWAYS_EAGER = True
    CELERY_RESULT_DBURI = "sqlite://"
    CELERYD_CONCURRENCY = 4
    CELERY_MY_OWN = 5
    TIME_ZONE = "Europe/Rome"
    SECRET = 7


class Old:
    CELERYD_CONCURRENCY = 3
    CELERY_DEFAULT_QUEUE = "old"
    CELERY_TASK_RESULT_EXPIRES = 60


def main():
    conf = Celery("conf", set_as_current=False).conf
    for name in sorted(conf):
        if not name.startswith("lavoro_") and name not in DOCUMENTED | {"deprecated_settings"}:
            attempt(name, conf.__getitem__, name)
    for name in ("task_default_exchange", "task_default_routing_key", "timezone"):
        say(f"attribute {name}", getattr(conf, name))
    attempt("unknown item", lambda: conf["no_such_setting"])
    say("unknown get", conf.get("no_such_setting", 5))
    say("unknown in", "no_such_setting" in conf)
    say("hasattr", hasattr(conf, "no_such_setting"))
    say("get_by_parts", conf.get_by_parts("worker", None, "concurrency"))
    say("find_option", conf.find_option("disable_rate_limits")[:2])
    say("find_option of all", conf.find_option("timezone")[:2])
    say("find_value_for_key", conf.find_value_for_key("disable_rate_limits"))
    attempt("find_option of none", conf.find_option, "no_such_setting")
    say("first", conf.first("timezone", "task_default_queue"))

    app = Celery("namespace", set_as_current=False)
    app.config_from_object(Django, namespace="CELERY")
    for name in ("task_track_started", "task_always_eager", "worker_concurrency", "my_own", "SECRET", "timezone"):
        attempt(f"namespace {name}", getattr, app.conf, name)
    attempt("namespace item", app.conf.__getitem__, "CELERY_MY_OWN")
    attempt("namespace old", app.conf.__getitem__, "CELERYD_CONCURRENCY")
    say("namespace set", app.conf.value_set_for("worker_concurrency"))
    say("namespace zone", str(app.timezone))

    app = Celery("old", set_as_current=False)
    app.config_from_object(Old)
    for name in ("worker_concurrency", "task_default_queue", "result_expires", "CELERY_DEFAULT_QUEUE"):
        attempt(f"old {name}", getattr, app.conf, name)
    say("old set", app.conf.value_set_for("task_default_queue"))

    def mixed(configuration):
        app = Celery("mixed", set_as_current=False)
        app.config_from_object(configuration)
        try:
            return app.conf.worker_concurrency
        except Exception as error:
            return type(error).__name__, [line.split("->") for line in str(error).splitlines() if "->" in line]

    say("mixed to old", mixed({"CELERYD_CONCURRENCY": 3, "CELERY_TIMEZONE": "UTC", "task_track_started": True}))
    say("mixed to new", mixed({"worker_concurrency": 3, "timezone": "UTC", "CELERY_TRACK_STARTED": True}))
    say("mixed of both", mixed({"worker_concurrency": 3, "CELERYD_CONCURRENCY": 4}))
    say("mixed with others", mixed({"worker_concurrency": 3, "DEBUG": True}))

    app = Celery("set", set_as_current=False)
    app.conf.update(task_default_queue="q", beat_schedule={"a": {}})
    app.conf["beat_schedule"]["b"] = {}
    app.conf.worker_concurrency = 9
    say("set", (app.conf.task_default_queue, app.conf.worker_concurrency, sorted(app.conf.beat_schedule)))
    table = {name: value for name, value in app.conf.table().items() if name != "deprecated_settings"}
    say("table", table)
    app = Celery("shown", task_default_queue="q", security_key="hush", set_as_current=False)
    shown = app.conf.humanize().splitlines()
    say("humanize", sorted(line for line in shown if not line.startswith("deprecated_settings")))
    say("uncensored", app.conf.table(False, False)["security_key"])
