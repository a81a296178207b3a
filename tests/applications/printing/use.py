"""Sends the tasks, and prints what becomes of them."""

import json

from celery import current_app, signature, states
from celery.app.registry import TaskRegistry
from celery.canvas import Signature
from celery.exceptions import NotRegistered, TaskRevokedError
from celery.local import Proxy
from celery.result import AsyncResult
from celery.utils import uuid
from printing.app import app
from printing.tasks import book, cut, fold, follow, proofread, typeset


def shown(result):
    """Return the state, and the value or the class and the words of the error."""
    value = result.get(timeout=60, propagate=False)
    return [result.state, [type(value).__name__, str(value)] if isinstance(value, BaseException) else value]


sent = {
    "typeset": typeset.delay("a book of hours", width=6),
    "fold": fold.apply_async(("a4",), headers={"page": 7}),
    "urgent": cut.delay("a5", urgent=True),
    "wrong": cut.delay(""),
    "book": book.delay(["x", "y"]),
    "signature": signature("tasks.fold", args=("a3",), app=app).set(headers={"page": 1}).apply_async(),
    "by name": app.send_task("tasks.proofread", ["some words here"]),
}
answers = {name: shown(result) for name, result in sent.items()}
id = uuid()
later = cut.apply_async(("later",), countdown=2, task_id=id)
AsyncResult(id).revoke()
answers["follow"] = shown(follow.delay(sent["fold"].as_tuple()))
answers["rejected"] = proofread.delay("").id is not None
answers["extended"] = [sent["urgent"].name, sent["urgent"].args, sent["urgent"].kwargs, sent["urgent"].queue]
answers["here"] = [typeset("ab", width=1), fold.apply(("a1",)).get(), isinstance(current_app, Proxy)]
travelled = json.loads(json.dumps(Signature("tasks.cut", args=("b",), immutable=True)))
answers["travelled"] = shown(Signature.from_dict(travelled, app=app).apply_async(("ignored",)))
try:
    later.get(timeout=60)
except TaskRevokedError as error:
    answers["revoked"] = [str(error), later.state == states.REVOKED]
try:
    app.tasks["tasks.glue"]
except NotRegistered:
    answers["registry"] = [isinstance(app.tasks, TaskRegistry), "tasks.cut" in app.tasks]
print(json.dumps(answers))
