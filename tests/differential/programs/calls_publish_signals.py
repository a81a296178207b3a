"""`before_task_publish` and `after_task_publish`: their arguments, and what receivers change."""

import datetime as dt

from celery import Celery
from celery.signals import after_task_publish, before_task_publish
from record import attempt, say

app = Celery("calls_publish_signals")
label = None


@app.task(bind=True, max_retries=1)
def show(self, *args, **kwargs):
    say(f"{self.request.id}.added", self.request.get("added"))
    say(f"{self.request.id}.changed", (args, kwargs))
    return "done"


@before_task_publish.connect
def before(sender=None, body=None, headers=None, properties=None, exchange=None, routing_key=None, **more):
    if label is None:
        return
    say(f"{label}.before.sender", sender)
    say(f"{label}.before.body", body)
    for name in sorted(headers):
        say(f"{label}.before.headers.{name}", headers[name])
    for name in sorted(properties):
        if name in ("delivery_mode", "reply_to"):
            continue
        say(f"{label}.before.properties.{name}", properties[name])
    say(f"{label}.before.exchange", exchange)
    say(f"{label}.before.routing_key", routing_key)
    say(f"{label}.before.more", sorted(more))
    headers["added"] = f"by {label}"


@after_task_publish.connect
def after(sender=None, body=None, headers=None, exchange=None, routing_key=None, **more):
    if label is None:
        return
    say(f"{label}.after.sender", sender)
    say(f"{label}.after.body", body)
    say(f"{label}.after.headers", sorted(headers))
    say(f"{label}.after.exchange", exchange)
    say(f"{label}.after.routing_key", routing_key)
    say(f"{label}.after.more", sorted(more))


def main():
    global label
    eta = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    calls = {
        "plain": {},
        "arguments": {"args": (1, "two"), "kwargs": {"three": [3]}},
        "eta": {"eta": eta},
        "countdown": {"countdown": 0.01},
        "expires": {"expires": 600},
        "limits": {"time_limit": 30, "soft_time_limit": 20},
        "headers": {"headers": {"tenant": "x"}},
        "options": {"priority": 3, "shadow": "other", "ignore_result": False, "app_id": "a"},
        "ids": {"root_id": "root", "parent_id": "parent", "group_id": "group"},
        "queue": {"queue": "celery", "serializer": "json"},
    }
    for label, options in calls.items():
        attempt(f"{label}.get", show.apply_async(task_id=label, **options).get, timeout=30)
    label = "send_task"
    app.send_task(show.name, (5,), task_id="send_task").get(timeout=30)
