"""The shop's pages: one sends a task, another polls its result."""

from flask import Blueprint, request

from lavoro import AsyncResult

from . import tasks

pages = Blueprint("pages", __name__, url_prefix="/tasks")


@pages.get("/result/<id>")
def result(id):
    """Tell what has become of a task."""
    result = AsyncResult(id)
    ready = result.ready()
    return {
        "ready": ready,
        "successful": result.successful() if ready else None,
        "value": result.get(propagate=False) if ready and result.successful() else repr(result.result),
    }


@pages.post("/<name>")
def send(name):
    """Send a task, with the options of a JSON body."""
    options = request.get_json()
    return {"result_id": getattr(tasks, name).apply_async(**options).id}
