"""`task_annotations`: what they change for the caller, in eager mode and in a worker."""

from celery import Celery
from record import attempt, say

app = Celery("tasks_annotations")
GET = {"timeout": 30}


def on_failure(self, exc, task_id, args, kwargs, einfo):
    say(f"{task_id}.on_failure", (self.name, exc))


class Annotation:
    def annotate(self, task):
        if task.name.endswith("by_class"):
            return {"max_retries": 21}
        return None


app.conf.task_annotations = (
    {
        "tasks_annotations.named": {"max_retries": 5, "rate_limit": "10/s", "own": "x", "ignore_result": False},
        "*": {"on_failure": on_failure, "default_retry_delay": 33},
    },
    Annotation(),
)


@app.task(bind=True)
def named(self):
    return self.max_retries, self.rate_limit, self.own, self.default_retry_delay


@app.task(bind=True)
def other(self):
    return self.max_retries, self.default_retry_delay


@app.task(bind=True)
def by_class(self):
    return self.max_retries


@app.task
def fails():
    raise ValueError("bad")


def main():
    attempt("caller named", lambda: (named.max_retries, named.rate_limit, named.own))
    attempt("caller other", lambda: (other.max_retries, other.default_retry_delay))
    attempt("caller by_class", lambda: by_class.max_retries)
    attempt("eager named", lambda: named.apply().get())
    attempt("eager other", lambda: other.apply().get())
    attempt("eager fails", lambda: fails.apply(task_id="eager").state)
    attempt("direct", lambda: named())
    attempt("worker named", named.delay().get, **GET)
    attempt("worker other", other.delay().get, **GET)
    attempt("worker by_class", by_class.delay().get, **GET)
    attempt("worker fails", fails.apply_async(task_id="worker").get, **GET)
