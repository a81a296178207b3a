"""`current_app`, `current_task`, and what `shared_task` gives: objects that stand for others."""

import inspect

from celery import Celery, current_app, current_task, shared_task
from celery.local import Proxy
from record import attempt, say

POOLS = ()


@shared_task(bind=True)
def shared(self, x=1):
    """Words."""
    return x


def part_without_app():
    attempt("main of default", lambda: current_app.main)
    attempt("type of default", lambda: type(current_app._get_current_object()).__name__)
    attempt("no task", lambda: (bool(current_task), current_task == None))  # noqa: E711
    attempt("attribute of no task", lambda: current_task.name)


def part_with_app():
    app = Celery("proxies")
    attempt("main", lambda: current_app.main)
    attempt("is", lambda: current_app._get_current_object() is app)
    attempt("equal", lambda: (current_app == app, app == current_app, current_app != app))
    attempt("isinstance", lambda: (isinstance(current_app, Celery), isinstance(current_app, Proxy)))
    attempt("hash", lambda: hash(current_app) == hash(app))
    attempt("bool", lambda: bool(current_app))
    attempt("dir", lambda: "send_task" in dir(current_app))
    current_app.conf.task_default_queue = "set"
    attempt("set through", lambda: app.conf.task_default_queue)
    attempt("conf", lambda: current_app.conf is app.conf)
    attempt("tasks", lambda: "proxies.shared" in current_app.tasks)
    attempt("shared name", lambda: (shared.name, shared.__name__, shared.__doc__))
    attempt("shared call", lambda: (shared(), shared(5), shared.run(6), shared.apply((7,)).get()))
    attempt("shared signature", lambda: str(inspect.signature(shared.run)))
    attempt("shared isinstance", lambda: isinstance(shared, app.Task))
    attempt("shared get", lambda: shared._get_current_object() is app.tasks["proxies.shared"])
    attempt("shared app", lambda: shared.app is app)
    attempt("shared attribute", lambda: (setattr(shared, "own", 3), app.tasks["proxies.shared"].own)[1])
    attempt("shared unknown", lambda: shared.nothing_here)

    @app.task(bind=True)
    def inside(self):
        return current_task.name, current_task == self, bool(current_task), current_task.request.id == self.request.id

    attempt("inside", lambda: inside.apply().get())
    attempt("after", lambda: bool(current_task))


def part_proxy():
    proxy = Proxy(lambda: [1, 2])
    attempt("proxy.len", lambda: (len(proxy), proxy[0], 1 in proxy, [*proxy]))
    attempt("proxy.repr", lambda: repr(proxy))
    attempt("proxy.equal", lambda: proxy == [1, 2])
    attempt("proxy.class", lambda: (proxy.__class__.__name__, isinstance(proxy, list)))
    say("end", True)
