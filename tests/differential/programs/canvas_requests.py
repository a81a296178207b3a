"""Canvases: what the request of each task says of its place, in every place."""

from celery import Celery, chain, chord, group, signature
from record import attempt, say

POOLS = ("solo", "threads")
app = Celery("canvas_requests")
GET = {"timeout": 30}


def names(signatures):
    return [each["options"].get("task_id") or each["task"].rpartition(".")[2] for each in signatures or ()]


@app.task(bind=True)
def told(self, *args):
    request = self.request
    say(
        request.id,
        {
            "args": request.args,
            "root": request.root_id,
            "parent": request.parent_id,
            "group": request.group,
            "index": request.group_index,
            "chain": names(request.chain),
            "callbacks": names(request.callbacks),
            "errbacks": names(request.errbacks),
            "chord": request.chord
            and [request.chord["options"].get("task_id"), request.chord["task"].rpartition(".")[2]],
            "nesting": request.replaced_task_nesting,
            "ignores": request.ignore_result,
            "correlation": request.correlation_id,
            "retries": request.retries,
        },
    )
    return 1


@app.task(bind=True, default_retry_delay=0)
def again(self, *args):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return told(*args)


@app.task(bind=True)
def replaced(self, canvas):
    return self.replace(signature(canvas, app=app))


@app.task
def boom(*args):
    raise ValueError("boom")


@app.task(bind=True)
def sends(self, name):
    told.apply_async(task_id=f"{name}/task")
    chain(see(f"{name}/0"), see(f"{name}/1")).apply_async()
    group(see(f"{name}/member")).apply_async(task_id=f"{name}/group")
    return [None if child.id is None else str(child.id) for child in self.request.children]


def see(name):
    return told.s().set(task_id=name)


CANVASES = {
    "chain/2": lambda: chain(see("chain/0"), see("chain/1"), see("chain/2")),
    "chain with callbacks/1": lambda: chain(see("chain with callbacks/0"), see("chain with callbacks/1")).set(
        link=[see("chain with callbacks/link")], link_error=[told.s()]
    ),
    "chord/body": lambda: chord([see("chord/0"), see("chord/1")], see("chord/body")).set(task_id="chord"),
    "chains in a chord/body": lambda: chord(
        [chain(see("chains in a chord/0"), see("chains in a chord/1")), see("chains in a chord/2")],
        see("chains in a chord/body"),
    ),
    "chord in a chord/body": lambda: chord(
        [chord([see("chord in a chord/0")], see("chord in a chord/inner")), see("chord in a chord/1")],
        see("chord in a chord/body"),
    ),
    "chain behind a chord/2": lambda: chain(
        see("chain behind a chord/0"), group(see("chain behind a chord/1"), told.s()), see("chain behind a chord/2")
    ),
    "body is a chain/1": lambda: chord([see("body is a chain/0")], chain(told.s(), see("body is a chain/1"))),
    "links/0": lambda: see("links/0").set(link=[see("links/1"), see("links/2")]),
    "replaced/1": lambda: chain(replaced.s(told.si()).set(task_id="replaced/0"), see("replaced/1")),
    "replaced by a chain/1": lambda: chain(
        replaced.s(chain(see("replaced by a chain/a"), told.s())).set(task_id="replaced by a chain/0"),
        see("replaced by a chain/1"),
    ),
    "replaced in a header/body": lambda: chord(
        [replaced.s(told.si()).set(task_id="replaced in a header/0"), see("replaced in a header/1")],
        see("replaced in a header/body"),
    ),
    "sends": lambda: sends.s("sends").set(task_id="sends"),
}


def main():
    for name, make in CANVASES.items():
        make().apply_async()
        attempt(f"result of {name}", lambda name=name: app.AsyncResult(name).get(**GET))
    failed = boom.s().set(task_id="failed", link_error=[told.s().set(task_id="failed/errback")])
    failed.apply_async()
    attempt("failed", lambda: app.AsyncResult("failed").get(**GET))
    last = [f"{name}" for name in ("links/1", "links/2", "failed/errback", "chain with callbacks/link", "sends/1")]
    for name in [*last, "sends/task", "sends/member"]:
        attempt(f"result of {name}", lambda name=name: app.AsyncResult(name).get(**GET))
