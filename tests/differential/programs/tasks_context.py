"""Contexts of tasks: context variables, `threading.local`, event loops, `current_task`, as code for prefork expects."""

import asyncio
import contextvars
import threading

from celery import Celery, current_app, current_task
from record import attempt

POOLS = ("default", "prefork", "solo")
app = Celery("tasks_context")
GET = {"timeout": 30}
variable = contextvars.ContextVar("variable", default="default")
variable.set("set at import")
local = threading.local()
local.value = "set at import"


@app.task
def sees():
    seen = variable.get()
    variable.set("set by a task")
    return seen, getattr(local, "value", "nothing")


@app.task
def runs_asyncio():
    async def work():
        await asyncio.sleep(0)
        return "ran"

    return asyncio.run(work())


@app.task
def two_loops(other):
    async def work():
        await asyncio.sleep(0.05)
        return other

    return [asyncio.run(work()), asyncio.run(work())]


@app.task
def new_loop():
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(asyncio.sleep(0, "slept"))
    finally:
        loop.close()


@app.task(bind=True)
def current(self):
    return [
        current_task.name,
        current_task.request.id == self.request.id,
        current_app.main,
        app.current_task.name,
        app.current_worker_task.name,
    ]


@app.task(bind=True)
def nested(self):
    inner = current_inner.apply().get(disable_sync_subtasks=False)
    return inner, current_task.name


@app.task(bind=True)
def current_inner(self):
    return current_task.name


@app.task(bind=True)
def calls_directly(self):
    return current_inner(), self.request.called_directly


@app.task
def main_thread():
    return threading.current_thread() is threading.main_thread()


def main():
    attempt("sees", sees.delay().get, **GET)
    attempt("sees again", lambda: sees.delay().get(**GET)[1])
    attempt("asyncio.run", runs_asyncio.delay().get, **GET)
    attempt("two at once", lambda: [one.get(**GET) for one in [two_loops.delay(1), two_loops.delay(2)]])
    attempt("new_event_loop", new_loop.delay().get, **GET)
    attempt("current", current.delay().get, **GET)
    attempt("nested", nested.delay().get, **GET)
    attempt("calls_directly", calls_directly.delay().get, **GET)
    attempt("current_task outside", lambda: current_task.name)
    attempt("app.current_task outside", lambda: app.current_task)
