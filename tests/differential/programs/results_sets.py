"""`ResultSet` and `GroupResult`: members, states, waiting, groups in groups, saving, graphs and children."""

import io

from celery import Celery, group
from celery.exceptions import TimeoutError
from celery.result import AsyncResult, EagerResult, GroupResult, ResultSet, result_from_tuple
from record import attempt, say

app = Celery("results_sets")
GET = {"timeout": 30}
POOLS = ("threads",)


@app.task
def add(x, y):
    return x + y


@app.task
def fail(kind):
    raise {"value": ValueError("bad"), "key": KeyError("k")}[kind]


@app.task(bind=True)
def lead(self):
    one = add.apply_async((1, 1), task_id="child")
    some = group(add.s(2, 2).set(task_id="left"), add.s(3, 3).set(task_id="right")).apply_async(task_id="some")
    return [one.id, some.id]


def made(count, name):
    return [add.apply_async((number, number), task_id=f"{name} {number}") for number in range(count)]


def part_members():
    a, b, c = AsyncResult("a"), AsyncResult("b"), AsyncResult("c")
    results = ResultSet([a])
    for name, change in [
        ("add", lambda: results.add(b)), ("add again", lambda: results.add(AsyncResult("b"))),
        ("update", lambda: results.update([a, c])), ("remove", lambda: results.remove("b")),
        ("remove again", lambda: results.remove("b")), ("discard", lambda: results.discard("b")),
        ("discard result", lambda: results.discard(c)), ("clear", results.clear),
    ]:  # fmt: skip
        attempt(name, change)
        say(f"after {name}", [str(each) for each in results])
    full = ResultSet([a, b, c])
    attempt("len", len, full)
    attempt("index", lambda: (full[0], full[-1], full[1:]))
    attempt("equal", lambda: (full == ResultSet([a, b, c]), full == ResultSet([a]), full == [a, b, c]))
    attempt("hash", lambda: isinstance(hash(full), int))
    attempt("repr", repr, full)
    attempt("app", lambda: (full.app is app, ResultSet([]).app is app, full.backend is app.backend))
    attempt("native", lambda: (bool(full.supports_native_join), ResultSet([]).supports_native_join))


def part_groups():
    members = [AsyncResult("a"), GroupResult("h", [AsyncResult("b")])]
    some = GroupResult("g", members, parent=AsyncResult("p"))
    attempt("as_tuple", some.as_tuple)
    same = attempt("result_from_tuple", lambda: result_from_tuple(some.as_tuple(), app) == some) and some
    attempt("parent", lambda: result_from_tuple(some.as_tuple(), app).parent)
    attempt("children", lambda: same.children == members)
    attempt("texts", lambda: (str(some), repr(some), hash(some) == hash("g")))
    attempt("equal", lambda: (some == "g", some == "h", some == GroupResult("g", members), some == 5))
    attempt("bool", lambda: (bool(GroupResult()), bool(GroupResult("g")), bool(GroupResult(None, members))))
    attempt("app group", lambda: app.GroupResult("g", members, parent=AsyncResult("p")) == some)
    attempt("app set", lambda: app.ResultSet(members) == ResultSet(members))
    attempt("restore none", GroupResult.restore, "saved")
    attempt("save", lambda: GroupResult("saved", members).save().id)
    attempt("restore", lambda: GroupResult.restore("saved") == GroupResult("saved", members))
    attempt("restore app", lambda: GroupResult.restore("saved", app=app).results == members)
    attempt("backend", lambda: app.backend.restore_group("saved") == GroupResult("saved", members))
    attempt("delete", lambda: GroupResult("saved", members).delete())
    attempt("restore deleted", GroupResult.restore, "saved")
    attempt("save empty", lambda: (GroupResult("empty", []).save(), GroupResult.restore("empty").results)[1])
    attempt("save no id", lambda: GroupResult(None, members).save())


def part_values():
    for name in ("get", "join", "join_native"):
        results = ResultSet(made(5, name))
        join = getattr(results, name)
        attempt(name, join, **GET)
        told = {}
        attempt(f"{name} callback", join, callback=told.__setitem__, **GET)
        say(f"{name} told", told)
        attempt(f"{name} again", join, timeout=0)
        attempt(f"{name} states", states_of, results)
        attempt(f"{name} on_interval", join, on_interval=lambda: None, **GET)
    empty = ResultSet([])
    attempt("empty get", empty.get)
    attempt("empty join", empty.join)
    attempt("empty states", states_of, empty)
    attempt("on_message", ResultSet(made(1, "told")).join, on_message=print)
    results = ResultSet(made(3, "native"))
    about = attempt("iter_native", lambda: {id: meta["result"] for id, meta in results.iter_native(**GET)})
    say("iter_native meta", about)
    attempt("forget", lambda: (results.forget(), [AsyncResult(each.id).state for each in results])[1])


def states_of(results):
    names = ("ready", "waiting", "successful", "failed", "completed_count")
    return [getattr(results, name)() for name in names]


def part_failures():
    good, bad = made(1, "good")[0], fail.apply_async(("key",), task_id="bad")
    results = ResultSet([good, bad])
    for name in ("get", "join", "join_native"):
        join = getattr(results, name)
        attempt(name, join, **GET)
        attempt(f"{name} propagate", lambda join=join: [repr(each) for each in join(propagate=False, **GET)])
    attempt("states", states_of, results)
    attempt("maybe_throw", results.maybe_throw)
    told = {}
    attempt(
        "maybe_throw propagate", results.maybe_throw, callback=lambda i, v: told.update({i: repr(v)}), propagate=False
    )
    say("maybe_throw told", told)
    attempt("maybe_reraise", results.maybe_reraise)


def part_waiting():
    unknown = ResultSet([AsyncResult("unknown"), AsyncResult("nor this")])
    attempt("states", states_of, unknown)
    for name in ("get", "join", "join_native"):
        try:
            getattr(unknown, name)(timeout=0.1)
        except TimeoutError:
            say(f"{name} timeout", True)
    attempt("maybe_throw", unknown.maybe_throw)


def part_nested():
    inner = GroupResult("inner", [made(1, "deep")[0], GroupResult("deepest", made(2, "deepest"))])
    outer = GroupResult("outer", [made(1, "outer")[0], inner])
    attempt("join", outer.join, **GET)
    attempt("get", outer.get, **GET)
    attempt("states", states_of, outer)
    attempt("sent", lambda: group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3)))().get(**GET))
    attempt("chained", lambda: (add.s(1, 1) | group(add.s(2), add.s(3)))().get(**GET))


def part_eager():
    results = GroupResult("e", [EagerResult("a", 1, "SUCCESS"), EagerResult("b", ValueError("x"), "FAILURE")])
    attempt("native", lambda: results.supports_native_join)
    attempt("get", results.get)
    attempt("get propagate", lambda: [repr(each) for each in results.get(propagate=False)])
    attempt("states", states_of, results)


def part_children():
    result = lead.apply_async(task_id="lead")
    attempt("get", result.get, **GET)
    for each in ("child", "left", "right"):
        AsyncResult(each).get(**GET)
    again = AsyncResult("lead")
    attempt("children", lambda: [type(each).__name__ + " " + each.id for each in again.children])
    attempt("members", lambda: again.children[1].results)
    attempt("collect", lambda: [(str(node), value) for node, value in again.collect(**GET)])
    attempt("iterdeps", lambda: [(parent and str(parent), str(node)) for parent, node in again.iterdeps()])
    attempt("get_leaf", again.get_leaf)
    attempt("graph", lambda: repr(again.graph))
    attempt("topsort", lambda: str(again.graph.topsort()[-1]))

    def dot():
        text = io.StringIO()
        again.build_graph().to_dot(text)
        return text.getvalue()

    attempt("dot", dot)
