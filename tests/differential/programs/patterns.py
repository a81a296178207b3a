"""How applications set Celery up: a task class with a context, the whole configuration of a framework, patches."""

import sys
import types
from unittest import mock

from celery import Celery, Task, current_app, shared_task
from record import attempt, say

GET = {"timeout": 30}
FRAMEWORK = {
    "DEBUG": True,
    "SECRET_KEY": "secret",
    "SERVER_NAME": None,
    "PERMANENT_SESSION_LIFETIME": 31,
    "SQLALCHEMY_DATABASE_URI": "sqlite://",
    "MAX_CONTENT_LENGTH": None,
    "CELERY": {"task_ignore_result": False, "task_default_priority": 2},
}


class Context:
    depth = 0

    def __enter__(self):
        Context.depth += 1

    def __exit__(self, *error):
        Context.depth -= 1


def make_app():
    class ContextTask(Task):
        def __call__(self, *args, **kwargs):
            with Context():
                return self.run(*args, **kwargs)

    made = Celery("patterns", task_cls=ContextTask)
    made.config_from_object(FRAMEWORK["CELERY"])
    made.set_default()
    return made


@shared_task
def shared():
    return Context.depth


app = make_app()


@app.task
def decorated():
    return Context.depth


@app.task(bind=True, own_option="own", plugin=True, request_context=False)
def options(self):
    return self.own_option, self.plugin, self.request_context


@app.task
def calls(x):
    return decorated.delay().id is not None and x


def part_context():
    attempt("shared", shared.delay().get, **GET)
    attempt("decorated", decorated.delay().get, **GET)
    attempt("direct", lambda: (shared(), decorated(), decorated.run()))
    attempt("apply", lambda: decorated.apply().get())
    attempt("options", options.delay().get, **GET)
    attempt("base", lambda: [base.__name__ for base in type(app.tasks["patterns.decorated"]).__mro__][1:3])
    attempt("current", lambda: current_app.main)


def part_assigned():
    made = Celery("assigned", set_as_current=False)

    @made.task(name="early")
    def early():
        return Context.depth

    class ContextTask(made.Task):
        abstract = True

        def __call__(self, *args, **kwargs):
            with Context():
                return self.run(*args, **kwargs)

    made.Task = ContextTask

    @made.task(name="late")
    def late():
        return Context.depth

    attempt("early", lambda: early())
    attempt("late", lambda: late())
    attempt("super call", lambda: late.apply().get())


def part_framework():
    made = Celery("framework", set_as_current=False)
    attempt("update", lambda: made.conf.update(FRAMEWORK))
    attempt("read", lambda: (made.conf.DEBUG, made.conf["SECRET_KEY"], made.conf.get("NOTHING", 5)))
    attempt("known", lambda: made.conf.task_default_queue)
    made = Celery("framework", set_as_current=False)
    attempt("from dict", lambda: made.config_from_object(FRAMEWORK, namespace="CELERY"))
    attempt("from dict read", lambda: made.conf.task_default_queue)
    made.conf["beat_schedule"]["name"] = {"task": "a", "schedule": 5}
    attempt("beat", lambda: made.conf.beat_schedule)


def part_patches():
    with mock.patch.object(decorated, "delay") as patched:
        attempt("patched delay", lambda: calls.run(1) if patched.return_value else None)
        attempt("called", lambda: patched.call_count)
    with mock.patch.object(decorated, "apply_async") as patched:
        attempt("delay calls apply_async", lambda: decorated.delay() is patched.return_value)
        attempt("apply_async called", lambda: [tuple(one) for one in patched.call_args_list])
    with mock.patch.object(decorated, "run", return_value="patched") as patched:
        attempt("patched run", lambda: (decorated.apply().get(), decorated()))
    with mock.patch("patterns.decorated.retry") as patched:
        attempt("patched retry", lambda: decorated.retry() is patched.return_value)
    with mock.patch.object(app, "send_task") as patched:
        attempt("send_task used", lambda: (decorated.delay() is not None, patched.call_count))
    with mock.patch.object(Task, "apply_async", return_value="class") as patched:
        attempt("patched class", lambda: decorated.delay())
    attempt("restored", lambda: decorated.apply().get())


def part_module():
    module = types.ModuleType("tasks_of_main")
    sys.modules["tasks_of_main"] = module
    exec("def function(x):\n    return x\n", vars(module))
    vars(module)["__name__"] = "tasks_of_main"
    task = app.task(module.function)
    attempt("name", lambda: task.name)
    attempt("called", lambda: task(4))


def main():
    say("own attributes", (options.own_option, options.plugin))
