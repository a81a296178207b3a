"""``SessionCleanup``: leaves no SQLAlchemy session open behind a task."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from lavoro.exceptions import ImproperlyConfigured
from lavoro.middleware.calls import Middleware, RunCall
from lavoro.text.printable import described

logger = logging.getLogger("lavoro.task")


class SessionCleanup(Middleware):
    """Removes a scoped session after each run, and rolls it back if the task has raised an exception.

    Without that the next task in the thread or greenlet would get the session with its objects, and perhaps a failed
    transaction. The task itself commits. A task that runs eagerly shares the session of its caller, which keeps it.
    ``FlaskLavoro`` has the session of Flask-SQLAlchemy removed by itself, so a Flask site needs this for other sessions
    alone::

        Session = scoped_session(sessionmaker(engine))
        app.middleware.add(SessionCleanup(Session))
    """

    def __init__(self, session: Any) -> None:
        if not all(callable(getattr(session, method, None)) for method in ("remove", "rollback")):
            raise ImproperlyConfigured(
                f"SessionCleanup needs a scoped session, not {described(session)}: tasks that run at once in a process"
                " must not share a session, scoped_session(sessionmaker(engine)) gives each its own"
            )
        self.session = session

    def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        """Run the task, and clean up."""
        if call.request.is_eager:
            return proceed(call)
        try:
            value = proceed(call)
        except BaseException:
            self._clean_up(call, self.session.rollback)
            raise
        finally:
            self._clean_up(call, self.session.remove)
        return value

    def _clean_up(self, call: RunCall, method: Callable[[], object]) -> None:
        """Call a method of the session; an error of it does not change the outcome of the task."""
        try:
            method()
        except Exception:
            logger.exception("the session of task %s[%s] could not be cleaned up", call.name, call.request.id)
