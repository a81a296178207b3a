"""Handlers and receivers that raise themselves."""

from celery import Celery, signals
from record import attempt, say

POOLS = ("default", "prefork")  # in others Celery's worker itself may fail of it
WORKER = ["-c", "1"]
app = Celery("handlers_failing")
GET = {"timeout": 30}


class Base(app.Task):
    broken = None

    def before_start(self, task_id, args, kwargs):
        self._raise("before_start")

    def on_success(self, retval, task_id, args, kwargs):
        self._raise("on_success")

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        self._raise("on_failure")

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        self._raise("on_retry")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        say(f"{task_id}.after_return", (status, retval))
        self._raise("after_return")

    def _raise(self, name):
        if name == self.request.kwargs.get("broken"):
            say(f"{self.request.id}.raises", name)
            raise RuntimeError(f"broken {name}")


@app.task(bind=True, base=Base)
def work(self, how, broken=None):
    say(f"{self.request.id}.run", how)
    if how == "fail":
        raise ValueError("bad")
    if how == "retry" and not self.request.retries:
        raise self.retry(countdown=0)
    return how


@signals.task_prerun.connect
@signals.task_postrun.connect
@signals.task_success.connect
@signals.task_failure.connect
def receiver(sender=None, signal=None, **arguments):
    name = signal.name.rpartition(".")[2] if hasattr(signal, "name") else "signal"
    say("signals", name)
    raise RuntimeError("broken receiver")


def main():
    for how, broken in [
        ("return", "before_start"),
        ("return", "on_success"),
        ("return", "after_return"),
        ("fail", "on_failure"),
        ("fail", "after_return"),
        ("retry", "on_retry"),
    ]:
        label = f"{how} {broken}"
        result = work.apply_async((how,), {"broken": broken}, task_id=label)
        attempt(f"{label}.get", result.get, timeout=8)
        say(f"{label}.state", result.state)
        say(f"{label}.result", result.result)
    attempt("last", work.apply_async(("return",)).get, **GET)
