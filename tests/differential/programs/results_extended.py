"""`result_extended`, `update_state`, and results that are read by id in another place."""

from celery import Celery, states
from record import attempt, eventually, say

app = Celery("results_extended")
app.conf.result_extended = True
GET = {"timeout": 30}


@app.task(bind=True)
def work(self, *args, **kwargs):
    return "done"


@app.task(bind=True, max_retries=1)
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0)
    return "again"


@app.task
def fails(x):
    raise ValueError(x)


@app.task(bind=True)
def progress(self, state, meta):
    self.update_state(state=state, meta=meta)
    seen = app.AsyncResult(self.request.id)
    say(f"{self.request.id}.seen", (seen.state, seen.info, seen.ready(), seen.successful(), seen.failed()))
    return "done"


@app.task(bind=True)
def by_id(self):
    self.update_state(task_id=self.request.id, state="HALF", meta=[1, 2])
    return app.AsyncResult(self.request.id).info


def fields(label, result):
    for name in "name args kwargs retries queue state result traceback children parent".split():
        value = attempt(f"{label}.{name} type", lambda name=name: type(getattr(result, name)).__name__)
        if name not in ("traceback",) and value:
            attempt(f"{label}.{name}", lambda name=name: getattr(result, name))
    attempt(f"{label}.worker", lambda: "@" in result.worker)
    attempt(f"{label}.date_done", lambda: result.date_done)


def part_fields():
    for label, task, args, kwargs in [
        ("plain", work, (1, "two"), {"k": [3]}),
        ("again", again, (), {}),
        ("fails", fails, (5,), {}),
    ]:
        result = task.apply_async(args, kwargs, task_id=label)
        attempt(f"{label}.get", result.get, propagate=False, **GET)
        fields(label, result)
        fields(f"{label} by id", app.AsyncResult(label))


def part_states():
    for label, state, meta in [
        ("custom", "PROGRESS", {"done": 1}),
        ("list", "LIST", [1, 2]),
        ("none", "NONE", None),
        ("text", "TEXT", "words"),
        ("lower", "lower case", 5),
        ("started", states.STARTED, {"pid": 1}),
    ]:
        attempt(f"{label}.get", progress.apply_async((state, meta), task_id=label).get, **GET)
    attempt("by_id", by_id.delay().get, **GET)


def part_waiting():
    result = work.apply_async(task_id="waiting", countdown=30)
    say("waiting.state", result.state)
    say("waiting.ready", result.ready())
    attempt("waiting.get", result.get, timeout=0.2)
    attempt("waiting.again", lambda: eventually(lambda: result.state in states.UNREADY_STATES))


def part_order():
    results = [work.apply_async(task_id=f"many {number}") for number in range(5)]
    say("many", [result.get(**GET) for result in results])
    say("many states", {result.state for result in results})
    said = []
    for result in results:
        result.get(callback=lambda task_id, value: said.append((task_id, value)), **GET)
    say("callbacks", said)
    attempt("interval", lambda: results[0].get(interval=0.01, timeout=5))
    attempt("timeout zero", lambda: results[0].get(timeout=0))
    attempt("on_interval", lambda: results[0].get(on_interval=lambda: None, **GET))
    attempt("no_ack", lambda: results[0].get(no_ack=False, **GET))
    attempt("follow_parents", lambda: results[0].get(follow_parents=False, **GET))
    attempt("unknown option", lambda: results[0].get(nothing=1))
