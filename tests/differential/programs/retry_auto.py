"""`autoretry_for` with its options, in a worker."""

from celery import Celery
from celery.exceptions import Ignore, Retry
from celery.signals import task_retry
from record import attempt, say

WORKER = ["-c", "1"]
app = Celery("retry_auto")
GET = {"timeout": 30}


@task_retry.connect
def retried(sender=None, request=None, reason=None, **more):
    say(f"{sender.name}.reason", (request.retries, str(reason), reason.when, reason.exc))


@app.task(bind=True, autoretry_for=(ValueError,), retry_kwargs={"max_retries": 2, "countdown": 0})
def twice(self):
    say("twice.retries", self.request.retries)
    raise ValueError("always")


@app.task(bind=True, autoretry_for=(Exception,), max_retries=1, default_retry_delay=0)
def by_option(self):
    raise ValueError("always")


@app.task(autoretry_for=(Exception,), dont_autoretry_for=(KeyError,), default_retry_delay=0)
def but_key():
    say("but_key", "ran")
    raise KeyError("no")


@app.task(autoretry_for=(KeyError,), default_retry_delay=0)
def other():
    say("other", "ran")
    raise ValueError("not asked for")


@app.task(bind=True, autoretry_for=(Exception,), retry_backoff=True, retry_jitter=False, retry_backoff_max=1)
def backoff(self):
    if self.request.retries < 1:
        raise ValueError("wait")
    return self.request.retries


@app.task(bind=True, autoretry_for=(Exception,), default_retry_delay=0)
def raises_retry(self):
    say("raises_retry", self.request.retries)
    if not self.request.retries:
        raise self.retry(countdown=0, max_retries=1, exc=KeyError("explicit"))
    raise ValueError("then")


@app.task(autoretry_for=(Exception,))
def ignores():
    raise Ignore


@app.task(bind=True, autoretry_for=(Exception,), retry_kwargs={"max_retries": None, "countdown": 0})
def unlimited(self):
    if self.request.retries < 5:
        raise ValueError("more")
    return self.request.retries


class Base(app.Task):
    autoretry_for = (ValueError,)
    max_retries = 2
    default_retry_delay = 0
    retry_backoff = False


@app.task(bind=True, base=Base)
def inherits(self):
    say("inherits", self.request.retries)
    raise ValueError("in base")


@app.task(bind=True, autoretry_for=(ValueError,), default_retry_delay=0, max_retries=1)
def with_arguments(self, x, *, y):
    say("with_arguments", (x, y, self.request.retries, self.request.args, self.request.kwargs))
    raise ValueError(x, y)


@app.task(bind=True)
def plain_retry(self):
    say("plain_retry", self.request.retries)
    if not self.request.retries:
        raise Retry("by hand", when=0)


@app.task
def last():
    return None


def main():
    for task in (twice, by_option, but_key, other, backoff, raises_retry, unlimited, inherits):
        result = task.apply_async(task_id=task.__name__)
        attempt(f"{task.__name__}.get", result.get, **GET)
        say(f"{task.__name__}.state", result.state)
    attempt("with_arguments.get", with_arguments.delay(1, y=2).get, **GET)
    ignored = ignores.delay()
    by_hand = plain_retry.delay()
    last.delay().get(**GET)
    say("ignores.ready", ignored.state)
    attempt("by hand.get", by_hand.get, timeout=2)  # Celery runs it no more, Lavoro runs it again
    say("twice attributes", (twice.max_retries, twice.retry_kwargs, twice.autoretry_for, twice.default_retry_delay))


def part_attributes():
    for name in (
        "autoretry_for dont_autoretry_for retry_kwargs retry_backoff retry_backoff_max retry_jitter max_retries"
        " default_retry_delay override_max_retries"
    ).split():
        attempt(f"backoff.{name}", getattr, backoff, name)
        attempt(f"last.{name}", getattr, last, name)
        attempt(f"inherits.{name}", getattr, inherits, name)
    attempt("called directly", twice)
    attempt("run directly", twice.run)
    attempt("_orig_run", lambda: twice._orig_run.__name__)


def part_times():
    from celery.utils.time import get_exponential_backoff_interval

    for factor, retries, maximum in [(1, 0, 600), (1, 5, 600), (3, 4, 600), (1, 20, 600), (0, 1, 5)]:
        attempt(f"interval {factor} {retries} {maximum}", get_exponential_backoff_interval, factor, retries, maximum)


def part_jitter():
    from celery.utils.time import get_exponential_backoff_interval

    values = {get_exponential_backoff_interval(1, 3, 600, True) for _ in range(300)}
    say("jitter", (min(values), max(values)))
