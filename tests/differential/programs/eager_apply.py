"""`Task.apply`: what runs here and now, and what it gives."""

from celery import Celery, states
from celery.exceptions import Ignore, Reject, Retry
from record import attempt, say

POOLS = ()
app = Celery("eager_apply")


class Thing:
    """Nothing that a serializer knows."""


@app.task(bind=True)
def request(self, *args, **kwargs):
    for name in (
        "args kwargs id task retries is_eager called_directly root_id parent_id correlation_id group chain chord"
        " callbacks errbacks eta expires headers ignore_result timelimit utc origin shadow loglevel logfile children"
        " delivery_info properties argsrepr kwargsrepr lang group_index replaced_task_nesting"
    ).split():
        attempt(f"request.{name}", getattr, self.request, name)
    say("request.hostname", self.request.hostname)
    return self.request.id


@app.task
def identity(value):
    return value


@app.task
def fail():
    raise ValueError("bad", 3)


@app.task(bind=True)
def raises(self, error):
    raise error


@app.task
def outer():
    result = identity.apply((5,))
    return attempt("inner.get", result.get)


@app.task(bind=True)
def updates(self):
    self.update_state(state="PROGRESS", meta={"done": 1})
    return "done"


@app.task(bind=True, max_retries=2)
def again(self, fails, **how):
    say("again.retries", (self.request.retries, self.request.is_eager, self.request.called_directly))
    if self.request.retries < fails:
        raise self.retry(countdown=60, **how)
    return self.request.retries


def all_of(label, result):
    for name in "id state status result traceback name".split():
        value = getattr(result, name, "absent")
        say(f"{label}.{name}", value.splitlines()[-1] if name == "traceback" and value else value)
    say(f"{label}.kind", type(result).__name__)
    say(f"{label}.done", (result.ready(), result.successful(), result.failed()))
    attempt(f"{label}.get", result.get)
    attempt(f"{label}.get no propagate", result.get, propagate=False)
    attempt(f"{label}.repr", repr, result)


def part_request():
    attempt("request.get", request.apply((1,), {"a": 2}, task_id="given", headers={"own": 1}).get)
    attempt("request generated", lambda: len(request.apply().id))
    attempt("request retries", lambda: request.apply(retries=1).state)


def part_success():
    all_of("success", identity.apply((5,), task_id="success"))
    thing = Thing()
    say("same object", identity.apply((thing,)).get() is thing)
    say("tuple stays", identity.apply(((1, 2),)).get())
    say("keywords", identity.apply(kwargs={"value": 3}).get())
    say("by list", identity.apply([4]).get())
    attempt("too few", lambda: identity.apply().state)
    attempt("unknown option", lambda: identity.apply((1,), nothing=5).get())


def part_failure():
    all_of("failure", fail.apply(task_id="failure"))
    attempt("throw", fail.apply, throw=True)
    app.conf.task_eager_propagates = True
    attempt("propagates", fail.apply)
    attempt("propagates, throw false", lambda: fail.apply(throw=False).state)
    app.conf.task_eager_propagates = False


def part_predicates():
    for label, error in {"ignore": Ignore("x"), "reject": Reject("x"), "exit": SystemExit(3)}.items():
        attempt(f"{label}.apply", lambda error=error: raises.apply((error,)).state)
        attempt(f"{label}.result", lambda error=error: raises.apply((error,)).result)
        attempt(f"{label}.throw", lambda error=error: raises.apply((error,), throw=True).state)


def part_nested():
    attempt("outer", lambda: outer.apply().state)
    attempt("updates", lambda: (updates.apply().state, updates.apply().get()))


def part_retry():
    all_of("retried", again.apply((2,), task_id="retried"))
    all_of("exhausted", again.apply((5,), task_id="exhausted"))
    all_of("exhausted exc", again.apply((5,), {"exc": KeyError("k")}, task_id="exhausted exc"))
    all_of("throw false", again.apply((1,), {"throw": False}, task_id="throw false"))
    attempt("exhausted throw", lambda: again.apply((5,), throw=True).state)


def part_raises_retry():
    all_of("by hand", raises.apply((Retry("by hand"),), task_id="by hand"))
    attempt("by hand throw", lambda: raises.apply((Retry("by hand"),), throw=True).state)
    attempt("is ready", lambda: raises.apply((Retry("by hand"),)).state in states.READY_STATES)


def part_propagates_retry():
    app.conf.task_eager_propagates = True
    attempt("propagates retried", lambda: again.apply((2,)).get())
    attempt("propagates exhausted", lambda: again.apply((5,)).get())
    attempt("propagates by hand", lambda: raises.apply((Retry("by hand"),)).get())
    app.conf.task_eager_propagates = False
