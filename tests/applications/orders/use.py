"""Use the shop by its pages, and print what they answer."""

import json
import time

from make_celery import flask_app

client = flask_app.test_client()


def send(name, **options):
    """Post the form of a task; return the id that the page answers."""
    return client.post(f"/tasks/{name}", json=options).json["result_id"]


def answer(id):
    """Ask the page until the task is over."""
    until = time.monotonic() + 60
    while not (found := client.get(f"/tasks/result/{id}").json)["ready"] and time.monotonic() < until:
        time.sleep(0.02)
    return found


sent = {
    "price": send("price", args=[[1, 2, 3]], expires=3600),
    "pack": send("pack", kwargs={"parcels": 3}, task_id="1b671a64-40d5-491e-99b0-da01ff1f3341"),
    "charge": send("charge", args=["visa", 2]),
    "broke": send("charge", args=["amex", 9]),
    "export": send("export"),
    "ship": send("ship", args=["a"]),
    "later": send("price", args=[[4]], countdown=0.3),
}
forgotten = send("forget")
answers = {name: answer(id) for name, id in sent.items()}
unknown = client.get("/tasks/result/7b671a64-40d5-491e-99b0-da01ff1f3341").json
print(json.dumps({**answers, "unknown": unknown}))
