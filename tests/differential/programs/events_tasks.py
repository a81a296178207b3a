"""The events of tasks: their types, their order and their fields."""

import threading

from celery import Celery
from celery.exceptions import Ignore, Reject
from record import eventually, say

app = Celery("events", worker_send_task_events=True, task_send_sent_event=True)
POOLS = ("default", "threads")
WORKER = ["-c", "2", "-E"]
CALL = ("name", "args", "kwargs", "retries", "queue", "routing_key", "result", "exception", "expired", "terminated")
ORDERED = ("task-received", "task-started", "task-succeeded", "task-failed", "task-rejected", "task-revoked")
"""In Celery those of a call and of a retry, and events of code, may come before the others or after them."""
heard = []


@app.task
def add(x, y=1):
    return x + y


@app.task
def fail(word):
    raise ValueError(word)


@app.task(bind=True, max_retries=1, default_retry_delay=0.1)
def again(self):
    if self.request.retries:
        return "at last"
    raise self.retry(exc=KeyError("first"))


@app.task
def ignored():
    raise Ignore


@app.task(acks_late=True)
def rejected():
    raise Reject("no", requeue=False)


@app.task(send_events=False)
def silent():
    return 1


@app.task(bind=True)
def tells(self):
    self.send_event("task-half", done=1)
    return 2


def hear():
    with app.connection() as connection:
        app.events.Receiver(connection, handlers={"*": heard.append}).capture(limit=None, timeout=None)


def hears():
    """Send an event, and tell whether one was heard: the receiver may not have begun."""
    with app.events.default_dispatcher() as dispatcher:
        dispatcher.send("probe-ready")
    return heard


def of(uuid, *, sent=True):
    return [event for event in list(heard) if event.get("uuid") == uuid and (sent or event["type"] != "task-sent")]


def tell(key, result, last, *, sent=True):
    eventually(lambda: last in [event["type"] for event in of(result.id)])
    for event in of(result.id, sent=sent):
        fields = {name: event[name] for name in CALL if name in event}
        fields["root"] = event.get("root_id", result.id) == result.id
        fields["eta"] = event.get("eta") is not None
        fields["traceback"] = "Error" in (event.get("traceback") or "")
        say(f"{key}: {event['type']}", fields)
    say(f"{key}: in order", [event["type"] for event in of(result.id, sent=False) if event["type"] in ORDERED])


def main():
    threading.Thread(target=hear, daemon=True).start()
    eventually(hears)
    tell("success", add.delay(2, y=3), "task-succeeded")
    tell("failure", fail.delay("bad"), "task-failed")
    tell("retry", again.delay(), "task-succeeded", sent=False)
    tell("rejected", rejected.delay(), "task-rejected")
    tell("expired", add.apply_async((1,), countdown=0.5, expires=0.1), "task-revoked")
    tell("of code", tells.delay(), "task-succeeded", sent=False)
    later = [ignored.delay(), silent.delay()]
    tell("later", add.apply_async((1,), countdown=0.5), "task-succeeded")
    say("ignored", sorted(event["type"] for event in of(later[0].id)))
    say("silent", [event["type"] for event in of(later[1].id)])
    state = app.events.State()
    for event in list(heard):
        state.event(event)
    say("states", sorted(task.state for _, task in state.tasks_by_time() if task.name))
    say("types", state.task_types())
    say("workers", len(list(state.alive_workers())))
