"""Canvases: which error callbacks are called, how often, and with which arguments."""

from celery import Celery, chain, chord, group, signature
from record import attempt, eventually, say

POOLS = ("solo", "threads")
app = Celery("canvas_errbacks")
GET = {"timeout": 10}


@app.task
def same(*args):
    return list(args)


@app.task
def boom(*args):
    raise ValueError("boom", len(args))


@app.task
def called(request, exc, traceback, name):
    say(f"called: {name}", {
        "id": request.id,
        "task": request.task,
        "args": request.args,
        "kwargs": request.kwargs,
        "error": type(exc).__name__,
        "first line": traceback and traceback.splitlines()[0],
        "group": request.group,
        "root": request.root_id,
    })  # fmt: skip
    same.apply_async(task_id=f"called: {name}")


@app.task(bind=True)
def sent(self, task_id, name):
    say(f"sent: {name}", [task_id, self.request.parent_id, self.request.root_id])


@app.task
def stops(request, exc, traceback):
    raise RuntimeError("in the error callback")


@app.task(bind=True)
def replaced(self, canvas):
    return self.replace(signature(canvas, app=app))


def both(name):
    return [called.s(name=name), sent.s(name=name).set(task_id=f"sent: {name}")]


def step(task, name, *args):
    return task.si(*args).set(task_id=name)


def one(name):
    return called.s(name=name)


CANVASES = {
    "task": lambda: step(boom, "task", 1).set(link_error=both("of a task")),
    "two/0": lambda: step(boom, "two/0").set(link_error=[stops.s(), *both("behind one that fails")]),
    "chain/1": lambda: chain(step(same, "chain/0"), step(boom, "chain/1")).set(link_error=both("of a chain")),
    "first/0": lambda: chain(step(boom, "first/0"), step(same, "first/1").set(link_error=[one("of a step behind")])),
    "on_error/1": lambda: chain(step(same, "on_error/0"), step(boom, "on_error/1")).on_error(one("by on_error")),
    "header/body": lambda: chord([step(boom, "header/0")], step(same, "header/body").set(link_error=both("of a body"))),
    "on chord/body": lambda: chord([step(boom, "on chord/0")], step(same, "on chord/body")).on_error(one("of a chord")),
    "body/body": lambda: chord(
        [step(same, "body/0")], step(boom, "body/body").set(link_error=both("of a failing body"))
    ),
    "member/body": lambda: chord(
        [step(boom, "member/0").set(link_error=both("of a member"))], step(same, "member/body")
    ),
    "step in a header/body": lambda: chord(
        [chain(step(boom, "step in a header/0").on_error(one("of a step in a header")), same.s())],
        step(same, "step in a header/body").on_error(one("of the body of that")),
    ),
    "inner/body": lambda: chord(
        [chord([step(boom, "inner/0")], step(same, "inner/inner").on_error(one("of an inner body")))],
        step(same, "inner/body").on_error(one("of the outer body")),
    ),
    "group/0": lambda: group(step(boom, "group/0").on_error(one("of a member of a group"))),
    "replaced/0": lambda: step(replaced, "replaced/0", boom.si()).on_error(one("of a replaced task")),
    "replaced by a chain/0": lambda: step(replaced, "replaced by a chain/0", chain(boom.si(), same.s())).on_error(
        one("of a task replaced by a chain")
    ),
    "immutable/0": lambda: step(boom, "immutable/0").on_error(same.si("own").set(task_id="immutable/errback")),
}


CALLED = {
    "of a task": ("called", "sent"),
    "behind one that fails": ("called",),
    "of a chain": ("called", "sent"),
    "by on_error": ("called",),
    "of a body": ("called", "sent"),
    "of a chord": ("called",),
    "of a failing body": ("called", "sent"),
    "of a member": ("called", "sent"),
    "of a step in a header": ("called",),
    "of the body of that": ("called",),
    "of an inner body": ("called",),
    "of the outer body": ("called",),
    "of a member of a group": ("called",),
    "of a replaced task": ("called",),
    "of a task replaced by a chain": ("called",),
}


def main():
    for name, make in CANVASES.items():
        make().apply_async()
        attempt(f"result of {name}", lambda name=name: app.AsyncResult(name).get(**GET))
    names = [f"{how}: {name}" for name, ways in CALLED.items() for how in ways] + ["immutable/errback"]
    for name in names:
        attempt(f"state of {name}", lambda name=name: eventually(app.AsyncResult(name).ready, 5))
