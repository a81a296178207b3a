"""Canvases that run in the calling process: values, errors, ids, and the tasks and callbacks that are called."""

from celery import Celery, chain, chord, group, signature
from record import attempt, say

POOLS = ()
app = Celery("canvas_eager")
app.conf.task_always_eager = True
called = []


@app.task
def add(x, y):
    return x + y


@app.task(bind=True)
def told(self, *args):
    called.append([self.request.id, list(args)])
    return list(args)


@app.task
def boom(*args):
    raise ValueError("boom")


@app.task
def errback(request, exc, traceback, name):
    called.append([name, type(exc).__name__])


@app.task(bind=True)
def replaced(self, canvas):
    return self.replace(signature(canvas, app=app))


def see(name, *args):
    return told.s(*args).set(task_id=name)


CANVASES = {
    "chain": lambda: chain(add.s(1, 1), add.s(2), see("last")),
    "chain with callbacks": lambda: chain(add.s(1, 1), add.s(2)).set(link=[see("linked")]),
    "group": lambda: group(see("0", 1), see("1", 2)),
    "chord": lambda: chord([add.s(1, 1), add.s(2, 2)], see("body")),
    "chord of chords": lambda: chord([chord([add.s(1, 1)], see("inner")), add.s(2, 2)], see("body")),
    "group in the middle": lambda: chain(add.s(1, 1), group(see("0"), see("1")), see("2")),
    "body is a group": lambda: chord([add.s(1, 1)], group(see("0"), see("1"))),
    "body is a chain": lambda: chord([add.s(1, 1)], chain(see("0"), see("1"))),
    "map": lambda: told.map([1, 2]),
    "chunks": lambda: add.chunks([(1, 1), (2, 2), (3, 3)], 2),
    "failing last": lambda: chain(see("0", 1), boom.s()),
    "failing member": lambda: group(see("0", 1), boom.s(), see("1", 2)),
    "failing body": lambda: chord([see("0", 1)], boom.s().on_error(errback.s("body"))),
    "failing step": lambda: chain(boom.s().on_error(errback.s("own")), see("1")),
    "failing header": lambda: chord([boom.s(), see("0", 1)], see("body").on_error(errback.s("of the body"))),
    "failing chain in a group": lambda: group(chain(boom.s(), see("0")), see("1", 1)),
    "errback of a chain": lambda: chain(add.s(1, 1), boom.s()).on_error(errback.s("of the chain")),
    "replaced": lambda: replaced.s(see("0", 1)),
    "replaced by a chord": lambda: replaced.s(chord([add.s(1, 1)], see("0"))),
}


def main():
    for name, make in CANVASES.items():
        for how in ("apply_async", "apply"):
            called.clear()
            result = attempt(f"{name}, {how}: class", lambda how=how, make=make: kind(getattr(make(), how)()))
            say(f"{name}, {how}: called", called)
            attempt(f"{name}, {how}: value", lambda result=result: result[1].get())
    called.clear()
    attempt("link of a chord", lambda: chord([add.s(1, 1)], see("body")).apply_async(link=see("linked")).get())
    say("link of a chord: called", called)


class kind(list):
    def __init__(self, result):
        super().__init__([type(result).__name__, result])

    def __repr__(self):
        return self[0]
