"""`send_task`, and applications that override it."""

from celery import Celery
from celery.result import AsyncResult
from record import attempt, say

WORKER = ["-c", "1"]  # one process: each has a list of its own of what it has sent


class MyResult(AsyncResult):
    pass


class MyCelery(Celery):
    seen = []

    def send_task(self, name, args=None, kwargs=None, *more, **options):
        options["headers"] = {**(options.get("headers") or {}), "tenant": "x"}
        self.seen.append((name, args, kwargs, sorted(key for key, value in options.items() if value is not None)))
        return super().send_task(name, args, kwargs, *more, **options)


app = MyCelery("calls_send_task")


@app.task(bind=True, name="named")
def named(self, *args, **kwargs):
    say(f"{self.request.id}.args", (args, kwargs))
    say(f"{self.request.id}.tenant", self.request.get("tenant"))
    say(f"{self.request.id}.headers", (self.request.headers or {}).get("tenant"))
    return self.request.id


@app.task(bind=True, max_retries=1)
def again(self):
    say("again.tenant", self.request.get("tenant"))
    say("again.seen", [each[0] for each in app.seen])
    if not self.request.retries:
        raise self.retry(countdown=0)
    return "done"


GET = {"timeout": 30}


def part_overridden():
    say("delay", named.delay(1, a=2).parent)
    say("seen of delay", app.seen[-1][:3])
    say("options of delay", app.seen[-1][3])
    named.apply_async((1,), task_id="apply_async", countdown=0.01, headers={"own": 1}).get(**GET)
    say("options of apply_async", app.seen[-1][3])


def part_send_task():
    app.send_task("named", task_id="send_task").get(**GET)
    app.send_task("named", (1,), {"b": 2}, task_id="send_task with arguments").get(**GET)
    app.send_task("named", [3], None, 0.01, task_id="positional countdown").get(**GET)
    attempt("get", app.send_task("named", task_id="get").get, **GET)
    result = app.send_task("named", result_cls=MyResult, task_id="result_cls")
    say("result_cls", type(result).__name__)
    result.get(**GET)
    say("default result", type(app.send_task("named")).__name__)
    say("is AsyncResult", isinstance(app.send_task("named"), AsyncResult))


def part_retry():
    attempt("again", again.delay().get, **GET)


def part_odd():
    say("task_id None", bool(app.send_task("named", task_id=None).id))
    attempt("kwargs given twice", app.send_task, "named", name="named")
    app.send_task("named", task_id="shadow", shadow="other").get(**GET)
    app.send_task("named", task_id="unknown option", nothing=1).get(**GET)
