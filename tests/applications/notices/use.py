"""Use the service by its page, and print the results."""

import json

from run_celery import application, notices_celery

client = application.test_client()


def post(kind, **body):
    """Post notices; return their results."""
    ids = client.post(f"/notices/{kind}", json=body, headers={"X-Request-Id": "request-1"}).json
    return [notices_celery.AsyncResult(id) for id in ids]


mails = post("mail", addresses=["quick@x", "slow@x", "down@x"], group="first")
grouped = post("mail", addresses=["quick@y"])
texts = post("text", addresses=["123", "abc"])
direct = notices_celery.send_task("tell_team", kwargs={"message": "hello"}, queue="test-notify-internal-tasks")


def shown(result):
    """Return the value, or the class and the words of the error."""
    value = result.get(timeout=60, propagate=False)
    return [result.state, [type(value).__name__, str(value)] if isinstance(value, Exception) else value]


print(json.dumps([shown(result) for result in (*mails, *grouped, *texts, direct)]))
