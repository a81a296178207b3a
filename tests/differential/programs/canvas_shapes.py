"""Canvases of many shapes: values, errors, what requests say, and how error callbacks are called."""

from celery import Celery, chain, chord, chunks, group, signature
from record import attempt, say

app = Celery("canvas_shapes")
GET = {"timeout": 30}


@app.task
def add(x, y):
    return x + y


@app.task
def same(value):
    return value


@app.task
def pack(*args, **kwargs):
    return [list(args), kwargs]


@app.task
def boom(*args):
    raise ValueError("boom")


@app.task(bind=True)
def told(self, *args):
    request = self.request
    return {
        "ids": [request.id, request.root_id, request.parent_id],
        "group": [request.group, request.group_index],
        "chain": [each["options"]["task_id"] for each in request.chain or ()],
        "callbacks": [each["task"] for each in request.callbacks or ()],
        "errbacks": [each["task"] for each in request.errbacks or ()],
        "in chord": bool(request.chord),
        "nesting": request.replaced_task_nesting,
    }


@app.task
def new_style(request, exc, traceback):
    say("new style", (request.id, request.task, request.args, repr(exc)))


@app.task
def old_style(task_id):
    say("old style", task_id)
    return task_id


@app.task(bind=True)
def bound_errback(self, task_id):
    say("bound", (task_id, self.request.parent_id))
    return task_id


@app.task(bind=True)
def replaced(self, canvas):
    return self.replace(signature(canvas, app=app))


SHAPES = {
    "chain": lambda: chain(add.s(1, 1), add.s(2), add.s(3)),
    "immutable": lambda: add.s(1, 1) | pack.si("own") | same.s(),
    "group": lambda: group(add.s(1, 1), add.s(2, 2)),
    "nested groups": lambda: group(add.s(1, 1), group(add.s(2, 2), chain(add.s(3, 3), add.s(1)))),
    "chord": lambda: chord([add.s(1, 1), add.s(2, 2)], same.s()),
    "chord of chains": lambda: chord([chain(add.s(1, 1), add.s(1)), add.s(2, 2)], pack.s(key=1)),
    "chord of chords": lambda: chord([chord([add.s(1, 1)], same.s()), add.s(2, 2)], same.s()),
    "chain that ends in a group in a chord": lambda: chord(
        [chain(add.s(1, 1), group(add.s(1), add.s(2))), add.s(5, 5)], same.s()
    ),
    "body is a group": lambda: chord([add.s(1, 1)], group(same.s(), pack.s())),
    "body is a chain": lambda: chord([add.s(1, 1)], chain(same.s(), pack.s())),
    "body is a chord": lambda: chord([add.s(1, 1)], chord([same.s()], same.s())),
    "groups in a row": lambda: chain(add.s(1, 1), group(add.s(1), add.s(2)), group(same.s(), pack.s())),
    "group in the middle": lambda: chain(add.s(1, 1), group(add.s(1), add.s(2)), same.s(), pack.s()),
    "chord and chain": lambda: chord([add.s(1, 1)], same.s()) | chain(same.s(), pack.s()),
    "empty header": lambda: chord([], same.s()),
    "map": lambda: same.map([1, 2]),
    "starmap": lambda: add.starmap([(1, 2), (3, 4)]),
    "chunks": lambda: chunks(add.s(), [(1, 1), (2, 2), (3, 3)], 2),
    "failing step": lambda: chain(add.s(1, 1), boom.s(), add.s(1)),
    "failing member": lambda: group(add.s(1, 1), boom.s()),
    "failing header": lambda: chord([add.s(1, 1), boom.s()], same.s()),
    "failing body": lambda: chord([add.s(1, 1)], boom.s()),
    "replaced by a task": lambda: replaced.s(add.s(1, 1)) | add.s(1),
    "replaced by a chain": lambda: replaced.s(chain(add.s(1, 1), add.s(2))) | add.s(1),
    "replaced by a group": lambda: replaced.s(group(add.s(1, 1), add.s(2, 2))) | same.s(),
    "replaced in a chord": lambda: chord([replaced.s(add.s(1, 1)), add.s(2, 2)], same.s()),
}


def main():
    for name, make in SHAPES.items():
        attempt(name, lambda make=make: make().apply_async().get(**GET))
    steps = [told.s().set(task_id=f"step {number}") for number in range(3)]
    last = chain(*steps).apply_async()
    last.get(**GET)
    say("results", last.as_list())
    for number in range(3):
        attempt(f"step {number}", lambda number=number: app.AsyncResult(f"step {number}").get(**GET))
    members = group(told.s().set(task_id="member 0"), told.s().set(task_id="member 1")).apply_async(task_id="group")
    attempt("members", lambda: members.get(**GET))
    attempt(
        "callbacks",
        lambda: told.apply_async(task_id="called", link=same.s(), link_error=[old_style.s(), new_style.s()]).get(**GET),
    )
    for number, errback in enumerate((new_style, old_style, bound_errback)):
        failed = boom.apply_async(
            (1,), task_id=f"failed {number}", link_error=errback.s().set(task_id=f"errback {number}")
        )
        attempt(f"error {number}", lambda failed=failed: failed.get(**GET))
        if errback is not new_style:
            attempt(f"errback {number}", lambda number=number: app.AsyncResult(f"errback {number}").get(**GET))
    broken = chain(boom.s().set(task_id="first"), same.s().set(task_id="second")).apply_async()
    attempt("rest of a failed chain", lambda: app.AsyncResult("second").get(**GET))
    say("state of the rest", broken.state)
    attempt("group with link", lambda: group(add.s(1, 1)).apply_async(link=same.s()))
    attempt("add_to_chord outside", lambda: same.add_to_chord(same.s(1)))
