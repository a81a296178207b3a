"""`shared_task`, several applications, the current and the default one."""

from celery import Celery, current_app, shared_task
from celery.app import app_or_default
from record import attempt, say

GET = {"timeout": 30}


@shared_task
def before(x):
    return x + 1


@shared_task(bind=True, name="named", max_retries=9)
def named(self, x):
    return self.name, self.app.main, x


app = Celery("tasks_shared")


@shared_task
def after():
    return current_app.main


def part_worker():
    attempt("before", before.delay(1).get, **GET)
    attempt("named", named.delay(2).get, **GET)
    attempt("after", after.delay().get, **GET)


def part_registered():
    say("names", sorted(name for name in app.tasks if not name.startswith("celery.")))
    attempt("name", lambda: (before.name, named.name, named.max_retries))
    attempt("app", lambda: (before.app.main, current_app.main, app_or_default().main))
    attempt("call", lambda: before(3))
    attempt("is", lambda: app.tasks["tasks_shared.before"] == before)
    attempt("repr", lambda: repr(before))


def part_other():
    other = Celery("other", set_as_current=False)
    attempt("other has", lambda: "named" in other.tasks)
    attempt("current still", lambda: current_app.main)
    attempt("bound to other", lambda: other.tasks["named"].app.main)
    attempt("proxy still", lambda: named.app.main)
    other.set_current()
    attempt("current now", lambda: (current_app.main, named.app.main))
    app.set_current()
    attempt("current again", lambda: current_app.main)
    attempt("default", lambda: (app.set_default(), app_or_default(None).main, app_or_default(other).main)[1:])

    @other.task(shared=False)
    def alone():
        return 1

    attempt("not shared", lambda: (alone.name in other.tasks, alone.name in app.tasks))

    @other.task
    def shared_by_default():
        return 1

    attempt("shared by default", lambda: (shared_by_default.name in other.tasks, shared_by_default.name in app.tasks))


def part_again():
    @app.task(name="twice")
    def first():
        return "first"

    def second():
        return "second"

    attempt("one name", lambda: app.task(name="twice")(second)())
    attempt("task of task", lambda: app.task(first).name)
    attempt("not callable", lambda: app.task(5))
    attempt("two arguments", lambda: app.task(first, second))
    attempt("decorator call", lambda: type(app.task()).__name__)
