"""Queues and routes: where a call goes, by settings, options and functions."""

from celery import Celery
from celery.signals import before_task_publish
from record import attempt, say

WORKER = ["-c", "2", "-Q", "celery,a,b,from_function,regex,default_q"]
app = Celery("routing")
GET = {"timeout": 30}


def by_function(name, args, kwargs, options, task=None, **more):
    if name == "routing.by_function":
        say("route arguments", (args, kwargs, sorted(options), task is not None and task.name, more))
        return {"queue": "from_function", "priority": 2}
    return None


app.conf.task_routes = (
    by_function,
    {
        "routing.to_a": {"queue": "a"},
        "routing.to_b": "b",
        "routing.glob_*": {"queue": "a", "priority": 1},
    },
)


@app.task(bind=True)
def plain(self):
    return told(self)


@app.task(bind=True)
def to_a(self):
    return told(self)


@app.task(bind=True)
def to_b(self):
    return told(self)


@app.task(bind=True)
def glob_one(self):
    return told(self)


@app.task(bind=True, name="routing.by_function")
def function(self, *args, **kwargs):
    return told(self)


@app.task(bind=True, queue="b", priority=4)
def declared(self):
    return told(self)


def told(task):
    info = task.request.delivery_info
    return [info.get("routing_key"), info.get("exchange"), info.get("redelivered")]


@before_task_publish.connect
def publishes(sender=None, routing_key=None, properties=None, **more):
    say(f"{sender}.routing_key", routing_key)
    say(f"{sender}.priority", (properties or {}).get("priority"))


def main():
    for task in (plain, to_a, to_b, glob_one, declared):
        attempt(task.__name__, task.delay().get, **GET)
    attempt("function", function.delay(1, x=2).get, **GET)
    attempt("queue wins", to_a.apply_async(queue="b").get, **GET)
    attempt("routing_key", plain.apply_async(routing_key="a", queue="a").get, **GET)
    attempt("priority", plain.apply_async(priority=9).get, **GET)
    attempt("send_task", app.send_task("routing.to_a").get, **GET)
    attempt("send_task queue", app.send_task("routing.to_a", queue="celery").get, **GET)


def part_names():
    attempt("amqp.queues", lambda: sorted(app.amqp.queues))
    attempt("amqp.router", lambda: type(app.amqp.router).__name__)
