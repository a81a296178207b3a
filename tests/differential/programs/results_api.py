"""`AsyncResult`: its attributes, its methods and what they raise."""

from celery import Celery, states
from celery.exceptions import TaskError, TimeoutError
from celery.result import AsyncResult, EagerResult, allow_join_result
from record import attempt, eventually, say

app = Celery("results_api")
GET = {"timeout": 30}


@app.task
def add(x, y):
    return x + y


@app.task
def fail(kind):
    raise {"value": ValueError("bad", 3), "key": KeyError("k"), "own": Own("mine")}[kind]


@app.task
def inner():
    result = add.delay(1, 1)
    attempt("get in a task", result.get, timeout=20)
    attempt("get in a task, allowed", result.get, timeout=20, disable_sync_subtasks=False)
    with allow_join_result():
        attempt("get in a task, in a block", result.get, timeout=20)


class Own(Exception):
    pass


def part_success():
    result = add.apply_async((2, 3), task_id="sum")
    attempt("get", result.get, **GET)
    attempt("wait", result.wait, **GET)
    for name in ("id task_id state status result info traceback children parent ignored date_done").split():
        attempt(name, getattr, result, name)
    for name in ("name args kwargs worker retries queue").split():
        attempt(f"not extended.{name}", getattr, result, name)
    for name in ["ready", "successful", "failed", "as_tuple", "as_list"]:
        attempt(name, getattr(result, name, None))
    attempt("str", str, result)
    attempt("repr", repr, result)
    attempt("hash", lambda: hash(result) == hash("sum"))
    attempt("== id", lambda: (result == "sum", result == AsyncResult("sum"), result != "other", result == 5))
    attempt("get with callback", result.get, callback=lambda id, value: say("callback", (id, value)), **GET)
    attempt("get propagate", result.get, propagate=False, **GET)
    attempt("collect", lambda: [(str(one), value) for one, value in result.collect()])
    attempt("get_leaf", lambda: result.get_leaf())
    attempt("iterdeps", lambda: [*result.iterdeps()])
    attempt("throw", lambda: result.throw())
    attempt("maybe_throw", result.maybe_throw)
    attempt("maybe_reraise", lambda: result.maybe_reraise())
    attempt("then", lambda: type(result.then(lambda one: say("then", one.get()))).__name__)
    attempt("result_from_tuple", result.as_tuple(), app)
    attempt("as_list of tuple", lambda: result.as_list())
    attempt("copy", lambda: type(result)(result.id, app=app).get(**GET))
    attempt("AsyncResult of app", lambda: (app.AsyncResult("sum").get(**GET), add.AsyncResult("sum").state))
    attempt("AsyncResult none", AsyncResult, None)
    attempt("AsyncResult no id", AsyncResult)
    attempt("backend", lambda: result.backend is not None)
    attempt("app", lambda: result.app is app)


def part_failed():
    for kind in ("value", "key", "own"):
        failed = fail.apply_async((kind,), task_id=f"failed {kind}")
        attempt(f"failed {kind}.get", failed.get, **GET)
        attempt(f"failed {kind}.get no propagate", failed.get, propagate=False, **GET)
        attempt(f"failed {kind}.maybe_throw", failed.maybe_throw)
        attempt(f"failed {kind}.maybe_throw no propagate", failed.maybe_throw, propagate=False)
        attempt(f"failed {kind}.state", lambda one=failed: (one.state, one.failed(), one.successful(), one.ready()))
        attempt(f"failed {kind}.result", lambda one=failed: one.result)
        attempt(f"failed {kind}.traceback", lambda one=failed: one.traceback.splitlines()[-1])
        attempt(f"failed {kind}.class", lambda one=failed: type(one.result).__module__)


def part_unknown():
    unknown = app.AsyncResult("unknown")
    attempt("unknown.state", lambda: (unknown.state, unknown.ready(), unknown.failed(), unknown.successful()))
    attempt("unknown.result", lambda: (unknown.result, unknown.traceback, unknown.date_done, unknown.info))
    attempt("unknown.get", unknown.get, timeout=0.1)
    try:
        unknown.get(timeout=0.1)
    except TimeoutError as error:
        say("timeout", (type(error).__name__, isinstance(error, TaskError), isinstance(error, OSError)))
    attempt("unknown.forget", unknown.forget)


def part_forget():
    result = add.delay(2, 3)
    result.get(**GET)
    attempt("forget", result.forget)
    eventually(lambda: app.AsyncResult(result.id).state == states.PENDING)
    attempt("forgotten", lambda: (app.AsyncResult(result.id).state, app.AsyncResult(result.id).result))


def part_in_a_task():
    inner.delay().get(**GET)


def part_eager():
    eager = EagerResult("eager", 5, states.SUCCESS)
    for name in ("id state status result traceback supports_native_join").split():
        attempt(f"eager.{name}", getattr, eager, name)
    attempt("eager.get", eager.get)
    attempt("eager.ready", lambda: (eager.ready(), eager.successful(), eager.failed()))
    attempt("eager.repr", repr, eager)
    attempt("eager.forget", eager.forget)
    attempt("eager.revoke", lambda: (eager.revoke(), eager.state))
    broken = EagerResult("broken", ValueError("x"), states.FAILURE, traceback="tb")
    attempt("eager failed.get", broken.get)
    attempt("eager failed.get no propagate", broken.get, propagate=False)
    attempt("eager failed.result", lambda: (broken.result, broken.traceback))
