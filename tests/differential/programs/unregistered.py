"""Names that nobody has registered, and workers that serve some queues."""

from celery import Celery
from celery.exceptions import NotRegistered
from celery.signals import task_unknown
from record import attempt, say

WORKER = ["-c", "1", "-Q", "celery,extra", "-I", "discovered.included"]
app = Celery("unregistered")
GET = {"timeout": 30}


@task_unknown.connect
def unknown(sender=None, name=None, id=None, message=None, exc=None, **more):
    say("task_unknown", (name, id, type(exc).__name__, message is not None))


@app.task
def work():
    return "done"


def main():
    attempt("included", app.send_task("discovered.included.four").get, **GET)
    attempt("extra queue", work.apply_async(queue="extra").get, **GET)
    nobody = app.send_task("nobody.knows", task_id="unknown")
    attempt("known after it", work.delay().get, **GET)
    attempt("unknown.ready", nobody.ready)
    attempt("unknown.get", nobody.get, timeout=0.5)
    other = work.apply_async(queue="not served", task_id="elsewhere")
    attempt("elsewhere", other.get, timeout=0.5)
    say("elsewhere.state", other.state)
    say("is", isinstance(NotRegistered("x"), KeyError))
