"""Every field of `self.request` in a worker, for plain calls and for calls with options."""

import datetime as dt

from celery import Celery
from record import attempt, say

app = Celery("calls_request")
FIELDS = (
    "args kwargs id task retries delivery_info is_eager called_directly root_id parent_id"
    " correlation_id group group_index chain chord callbacks errbacks eta expires headers"
    " ignore_result timelimit utc origin shadow taskset replaced_task_nesting stamped_headers stamps"
    " loglevel logfile children argsrepr kwargsrepr lang hostname as_execution_options"
).split()


@app.task(bind=True)
def fields(self, *args, label=None, **kwargs):
    request = self.request
    for field in FIELDS[:-1]:
        try:
            value = getattr(request, field)
        except AttributeError:
            value = "AttributeError"
        if field == "hostname":
            value = value.partition("@")[0]
        if field == "headers" and value is not None:
            value = sorted(value)
        say(f"{label}.{field}", value)
    say(f"{label}.reply_to", type(request.reply_to).__name__)
    say(f"{label}.properties", sorted(request.properties or ()))
    say(f"{label}.get", (request.get("nothing"), request.get("nothing", 5), request.get("task")))
    attempt(f"{label}.unknown", lambda: request.nothing)
    say(f"{label}.execution options", sorted(request.as_execution_options()))
    say(f"{label}.time limits", (request.time_limit, request.soft_time_limit) if label == "limits" else None)


@app.task(bind=True, time_limit=50, soft_time_limit=40, queue="celery")
def limited(self):
    say("declared.timelimit", self.request.timelimit)


@app.task(bind=True)
def parent(self):
    child = family.apply_async(task_id="child")
    say("parent.children", self.request.children)
    say("child.parent", child.parent)


@app.task(bind=True)
def family(self):
    say("family.root_id", self.request.root_id)
    say("family.parent_id", self.request.parent_id)
    say("family.id", self.request.id)


def main():
    get = {"timeout": 30}
    fields.apply_async((1, "two"), {"label": "plain", "more": [3]}, task_id="first").get(**get)
    fields.apply_async(
        kwargs={"label": "headers"},
        headers={"tenant": "x", "number": 3},
        task_id="second",
        priority=3,
        shadow="another name",
        message_group="g",
    ).get(**get)
    fields.apply_async(
        kwargs={"label": "limits"}, task_id="third", time_limit=30, soft_time_limit=20, ignore_result=False
    ).get(**get)
    fields.apply_async(
        kwargs={"label": "times"},
        task_id="fourth",
        countdown=0.01,
        expires=600,
    ).get(**get)
    eta = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    fields.apply_async(kwargs={"label": "eta"}, task_id="fifth", eta=eta).get(**get)
    fields.apply_async(
        kwargs={"label": "ids"}, task_id="sixth", root_id="root", parent_id="parent", group_id="group", group_index=2
    ).get(**get)
    fields.apply_async(kwargs={"label": "retries"}, task_id="seventh", retries=2).get(**get)
    limited.apply_async(task_id="eighth").get(**get)
    parent.apply_async(task_id="parent").get(**get)
    app.AsyncResult("child").get(**get)
