"""What workers reply to commands and questions, and what their replies have."""

import time

from celery import Celery
from celery.worker.control import control_command, inspect_command
from record import eventually, say

POOLS = ("prefork",)
WORKER = ["-c", "2", "-n", "one@here"]
app = Celery("control")
GET = {"timeout": 45}
NODE = "one@here"


@app.task
def add(x, y):
    return x + y


@app.task(bind=True)
def hold(self, seconds):
    time.sleep(seconds)


@control_command(args=[("size", int)], signature="[SIZE]")
def resize_cache(state, size=100):
    return {"ok": f"{state.hostname}: {size}"}


@inspect_command()
def fails(state):
    raise KeyError("nothing there")


def ask(name, **arguments):
    replies = app.control.broadcast(name, arguments, reply=True, timeout=10, limit=1)
    return replies[0][NODE] if replies else None


def part_replies():
    add.delay(1, 2).get(**GET)  # the worker is there
    say("ping", app.control.ping(timeout=5, limit=1))
    say("inspect.ping", app.control.inspect(timeout=5).ping())
    say("destination", app.control.ping(timeout=5, destination=[NODE], limit=1))
    say("nobody", app.control.ping(timeout=0.5, destination=["none@here"]))
    say("custom", ask("resize_cache", size=7))
    say("custom default", ask("resize_cache"))
    say("fails", sorted(ask("fails")))
    say("unknown", sorted(ask("unknown") or ()))
    say("rate_limit unknown", ask("rate_limit", task_name="none", rate_limit="5/s"))
    say("time_limit", ask("time_limit", task_name=add.name, soft=50, hard=60))
    say("time_limit unknown", ask("time_limit", task_name="none", soft=1))
    say("registered", [name for name in ask("registered") if "celery." not in name])
    say("revoke", sorted(ask("revoke", task_id="0")))
    say("conf", ask("conf").get("timezone"))


def part_queues():
    say("add", ask("add_consumer", queue="mail"))
    say("again", ask("add_consumer", queue="mail"))
    say("served", add.apply_async((1, 2), queue="mail").get(**GET))
    say("names", sorted(queue["name"] for queue in ask("active_queues")))
    say("keys", sorted(ask("active_queues")[0]))
    say("cancel", ask("cancel_consumer", queue="mail"))
    say("left", sorted(queue["name"] for queue in ask("active_queues")))


def part_tasks():
    inspect = app.control.inspect([NODE], timeout=5)
    held = hold.delay(3)
    eventually(lambda: inspect.active()[NODE])
    [task] = inspect.active()[NODE]
    say("active keys", sorted(task))
    say("active", (task["name"], task["args"], task["kwargs"], task["acknowledged"], task["type"], task["hostname"]))
    say("delivery", task["delivery_info"]["routing_key"])
    say("query", inspect.query_task(held.id)[NODE][held.id][0])
    say("query unknown", inspect.query_task("unknown"))
    held.get(**GET)
    later = add.apply_async((1, 2), countdown=600)
    eventually(lambda: inspect.scheduled()[NODE])
    [task] = inspect.scheduled()[NODE]
    say("scheduled keys", sorted(task))
    say("scheduled", (task["request"]["id"] == later.id, task["request"]["args"], task["priority"]))
    later.revoke()
    eventually(lambda: later.id in inspect.revoked()[NODE])
    say("reserved", inspect.reserved()[NODE])
    stats = inspect.stats()[NODE]
    wanted = ("broker", "clock", "pid", "pool", "prefetch_count", "rusage", "total", "uptime")
    say("stats", [name for name in wanted if name in stats])
    eventually(lambda: inspect.stats()[NODE]["total"].get(hold.name))
    say("total", inspect.stats()[NODE]["total"].get(hold.name))
    say("nobody", app.control.inspect(["none@here"], timeout=0.5).active())


def part_slots():
    say("grow", ask("pool_grow", n=1))
    say("shrink", ask("pool_shrink", n=1))
