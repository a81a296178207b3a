"""The application: its attributes and methods that code uses outside of tasks."""

from celery import Celery
from record import attempt, say

POOLS = ()


def new(*args, **kwargs):
    return Celery(*args, set_as_current=False, **kwargs)


ATTRIBUTES = (
    "AsyncResult GroupResult ResultSet Task Worker WorkController Beat amqp backend clock conf configured control"
    " current_task current_worker_task events finalized fixups loader log main on_after_configure on_after_finalize"
    " on_after_fork on_configure oid pool producer_pool set_as_current steps strict_typing tasks task_cls thread_oid"
    " timezone user_options annotations"
).split()
METHODS = (
    "task send_task signature add_periodic_task set_default set_current finalize register_task gen_task_name"
    " add_defaults setup_security start worker_main connection connection_for_read connection_for_write"
    " connection_or_acquire producer_or_acquire select_queues either prepare_config now bugreport create_task_cls"
    " subclass_with_self type_checker close on_init config_from_object config_from_envvar config_from_cmdline"
    " autodiscover_tasks uses_utc_timezone"
).split()


def there(app, name):
    try:
        getattr(app, name)
    except NotImplementedError:
        return "comes later, and says so"
    return "is there"


def part_attributes():
    app = new("attributes")
    for name in ATTRIBUTES:
        attempt(f"attribute {name}", there, app, name)
    for name in METHODS:
        attempt(f"method {name}", there, app, name)
    attempt("unknown", lambda: app.nothing_at_all)


def part_values():
    app = new("values")
    attempt("main", lambda: app.main)
    attempt("repr", lambda: repr(app))
    attempt("repr without name", lambda: repr(new()))
    attempt("finalized", lambda: app.finalized)
    app.finalize()
    attempt("finalized now", lambda: app.finalized)
    attempt("set_as_current", lambda: app.set_as_current)
    attempt("strict_typing", lambda: (app.strict_typing, new(strict_typing=False).strict_typing))
    attempt("steps", lambda: app.steps)
    attempt("user_options", lambda: app.user_options)
    attempt("oid", lambda: (len(app.oid), app.oid == app.oid, app.oid == new().oid))
    attempt("gen_task_name", lambda: app.gen_task_name("name", "package.module"))
    attempt("gen_task_name main", lambda: app.gen_task_name("name", "__main__"))
    attempt("now", lambda: app.now().tzinfo is not None)
    attempt("timezone", lambda: str(app.timezone))
    attempt("task_cls", lambda: app.task_cls)
    attempt("Task", lambda: (app.Task.__name__, app.Task.app is app, app.Task is app.Task))
    attempt("Task repr", lambda: repr(app.Task))
    attempt("AsyncResult", lambda: (app.AsyncResult.__name__, app.AsyncResult("x").app is app))
    attempt("tasks", lambda: (type(app.tasks).__name__, len(app.tasks) >= 0))
    attempt("builtin tasks", lambda: sorted(name for name in app.tasks))
    attempt("loader", lambda: type(app.loader).__name__)
    attempt("backend", lambda: app.backend is app.backend)
    attempt("bugreport", lambda: "software" in app.bugreport())
    attempt("with", lambda: app.__enter__() is app and app.__exit__(None, None, None))
    attempt("close", lambda: app.close())
    attempt("either", lambda: app.either("task_default_queue"))


def part_backend():
    app = new("backend")
    app.finalize()
    attempt("store_result", lambda: app.backend.store_result("stored", {"a": 1}, "SUCCESS"))
    attempt("get_result", lambda: app.backend.get_result("stored"))
    attempt("get_state", lambda: app.backend.get_state("stored"))
    attempt("get_status", lambda: app.backend.get_status("stored"))
    attempt("get_traceback", lambda: app.backend.get_traceback("stored"))
    attempt("get_task_meta", lambda: sorted(app.backend.get_task_meta("stored")))
    attempt("unknown meta", lambda: app.backend.get_task_meta("unknown"))
    attempt("AsyncResult", lambda: app.AsyncResult("stored").get(timeout=10))
    attempt("mark_as_done", lambda: app.backend.mark_as_done("done", 5))
    attempt("done", lambda: app.AsyncResult("done").get(timeout=10))
    attempt("mark_as_failure", lambda: app.backend.mark_as_failure("failed", ValueError("x")) and None)
    attempt("failed", lambda: app.AsyncResult("failed").get(timeout=10))
    attempt("forget", lambda: app.backend.forget("stored"))
    attempt("forgotten", lambda: app.backend.get_state("stored"))


def part_connection():
    app = new("connection")
    attempt("ensure", lambda: app.connection().ensure_connection(max_retries=1) is not None)

    def context():
        with app.connection() as connection:
            return connection.connected

    attempt("with", context)

    def read():
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1)
            return connection.connected

    attempt("read", read)
    attempt("close", lambda: app.connection_for_write().close())


def part_again():
    app = new("again")

    @app.task(name="kept")
    def kept():
        return 1

    app.finalize()
    Celery.__init__(app, "again", set_as_current=False)
    attempt("kept", lambda: "kept" in app.tasks)
    attempt("kept call", lambda: kept())


def part_tasks():
    app = new("tasks")

    class Own(app.Task):
        own = "yes"

    app.Task = Own

    @app.task(name="own")
    def task():
        return 1

    attempt("own", lambda: task.own)
    attempt("task_cls given", lambda: new(task_cls=Own).Task.own)
    attempt("task_cls text", lambda: new(task_cls="celery.app.task:Task").Task.__name__)
    attempt("missing", lambda: app.tasks["missing"])
    attempt("get", lambda: app.tasks.get("missing"))
    attempt("in", lambda: ("own" in app.tasks, "missing" in app.tasks))
    attempt("unregister", lambda: app.tasks.unregister("own"))
    attempt("unregister again", lambda: app.tasks.unregister("own"))
    attempt("regular", lambda: sorted(app.tasks.regular()) if hasattr(app.tasks, "regular") else None)
    attempt("periodic", lambda: sorted(app.tasks.periodic()))


def part_subclass():
    class Own(Celery):
        def on_init(self):
            say("on_init", self.main)

        def gen_task_name(self, name, module):
            return f"own.{name}"

    app = Own("subclass", set_as_current=False)

    @app.task
    def task():
        return 1

    attempt("own name", lambda: task.name)


def part_worker_main():
    attempt("worker_main without worker", lambda: new("main").worker_main(["nothing"]))
    say("end", True)
