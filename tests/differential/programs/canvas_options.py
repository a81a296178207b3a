"""Canvases: which of their tasks get the options that are given to the whole."""

from celery import Celery, chain, chord, group
from record import attempt, say

POOLS = ("threads",)
app = Celery("canvas_options")
GET = {"timeout": 30}


@app.task(bind=True)
def told(self, *args, name):
    request = self.request
    return [name, {
        "id": request.id,
        "priority": request.delivery_info.get("priority"),
        "eta": bool(request.eta),
        "expires": bool(request.expires),
        "limits": request.timelimit,
        "ignores": request.ignore_result,
        "shadow": request.shadow,
        "headers": (request.headers or {}).get("own"),
        "reply": request.get("own"),
        "stamps": request.stamps,
    }]  # fmt: skip


@app.task
def gathered(values):
    return values


def see(name):
    return told.si(name=name)


OPTIONS = {
    "priority": {"priority": 5},
    "countdown": {"countdown": 0.2},
    "expires": {"expires": 60},
    "limits": {"time_limit": 50, "soft_time_limit": 40},
    "shadow": {"shadow": "another"},
    "headers": {"headers": {"own": 1}},
    "id": {"task_id": "own"},
}
SHAPES = {
    "chain": lambda: chain(see("0"), see("1"), see("2")),
    "group": lambda: group(see("0"), see("1")),
    "chord": lambda: chord([see("0"), see("1")], see("body")),
    "chain with a group": lambda: chain(see("0"), group(see("1"), see("2")), see("3")),
    "group of chains": lambda: group(chain(see("0"), see("1")), see("2")),
    "map": lambda: told.map([]),
}


def main():
    for shape, make in SHAPES.items():
        for option, given in OPTIONS.items():
            for how in ("call", "set"):
                given = {name: f"{shape} {how}" if name == "task_id" else value for name, value in given.items()}
                result = make().apply_async(**given) if how == "call" else make().set(**given).apply_async()
                attempt(f"{shape}, {option} by {how}", lambda result=result: seen(result))
    say("over", True)


def seen(result):
    """What the tasks of a canvas have told, the last ones first."""
    result.get(**GET)
    found = []
    while result is not None:
        members = result.results if hasattr(result, "results") else [result]
        found.append([before.get(**GET) for member in members for before in lineage(member, result)])
        result = result.parent
    return found


def lineage(member, result):
    """A member, and the steps before it."""
    steps = [member]
    while member is not result and member.parent is not None:
        member = member.parent
        steps.append(member)
    return steps
