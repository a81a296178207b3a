"""Use the gallery by its pages, and print what they answer."""

import json
import time

from gallery import app, celery, count

client = app.test_client()
OVER = ("SUCCESS", "FAILURE", "REFUSED")


def follow(location):
    """Ask the page of a task until it is over."""
    until = time.monotonic() + 60
    while (found := client.get(location).json)["state"] not in OVER and time.monotonic() < until:
        time.sleep(0.02)
    return found


def run(name, *args):
    """Start a task by its page; return the page to ask."""
    return client.post(f"/run/{name}", json=args).headers["Location"]


started = {
    "develop": client.post("/develop/3").headers["Location"],
    "refuse": run("refuse", "cat.gif"),
    "crop": run("crop", 4),
    "zero": run("crop", 0),
    "count": run("count"),
}
mails = [client.post("/mail", data={"subject": when, "when": when}).json["id"] for when in ("now", "later")]
answers = {name: follow(location) for name, location in started.items()}
print(
    json.dumps(
        {
            **answers,
            "unknown": client.get("/status/crop/7b671a64-40d5-491e-99b0-da01ff1f3341").json,
            "mails": [celery.AsyncResult(id).get(timeout=60) for id in mails],
            "setting": [celery.conf["UPLOADS"], celery.conf.SECRET_KEY, celery.conf.broker_url is not None],
            "here": count(),
        }
    )
)
