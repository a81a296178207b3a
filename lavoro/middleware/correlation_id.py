"""``CorrelationId``: one id for a web request, the tasks that it sends, and all that these send."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from typing import Any

from lavoro import log
from lavoro.exceptions import ImproperlyConfigured
from lavoro.execution.context import Context, current
from lavoro.middleware.calls import Middleware, RunCall, SendCall

LONGEST = 200
"""Characters of an id that a web request brings; a longer one is replaced."""


class CorrelationId(Middleware):
    """Gives each task the id of the web request that it comes from, as a header that its children have too.

    In a task it is ``self.request.request_id``; ``correlation_id`` there is Celery's, the id of the task. In Flask it
    is the header ``X-Request-ID`` of the request, else one is made for the request. Elsewhere each call has a new one.
    ``find`` returns that of another framework. The log of a worker has it as ``request_id``: JSON lines by themselves,
    others if their format names it::

        app.middleware.add(CorrelationId())
        app.conf.worker_task_log_format = "%(request_id)s %(task_name)s[%(task_id)s]: %(message)s"
    """

    def __init__(self, header: str = "request_id", *, find: Callable[[], str | None] | None = None) -> None:
        if not header.isidentifier() or hasattr(Context(), header):
            raise ImproperlyConfigured(
                f"CorrelationId: the header {header!r} cannot be an attribute of its own of self.request"
            )
        self.header = header
        self._find = find or _of_flask
        log.FIELDS[header] = self.current

    def current(self) -> str | None:
        """Return the id of the task that runs here, else of the web request; None outside of both."""
        request = _of_task()
        return request.get(self.header) if request is not None else self._found()

    def send(self, call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
        """Add the header, unless the call has one."""
        if not call.headers.get(self.header):
            call.headers[self.header] = self.current() or _new()
        return proceed(call)

    def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        """Make an id for a task that has none, because it was sent without this middleware, as from SQL."""
        request: Any = call.request
        if not request.get(self.header):
            setattr(request, self.header, id := _new())
            request.headers = {**(request.headers or {}), self.header: id}  # its retries keep it
        return proceed(call)

    def _found(self) -> str | None:
        id = self._find()
        return id if id and len(id) <= LONGEST and id.isprintable() else None


def _of_task() -> Context | None:
    """Return the request of the task that runs here; that of a direct call does not count."""
    request = current.get()
    while request is not None and request.called_directly:
        request = request.outer
    return request


def _of_flask() -> str | None:
    """Return the id of Flask's request; without a usable one in its header, all its calls get one that is made."""
    flask: Any = sys.modules.get("flask")
    if flask is None or not flask.has_request_context():
        return None
    id: str | None = flask.g.get("lavoro_request_id")
    if id is None:
        given = flask.request.headers.get("X-Request-ID", "").strip()
        id = flask.g.lavoro_request_id = given if 0 < len(given) <= LONGEST and given.isprintable() else _new()
    return id


def _new() -> str:
    return str(uuid.uuid4())
