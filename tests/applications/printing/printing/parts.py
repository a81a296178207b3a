"""Parts that Celery's worker would use: here nothing uses them, and they can be there."""

from celery import bootsteps
from celery.backends.redis import RedisBackend
from celery.beat import PersistentScheduler
from celery.events.state import State
from celery.worker.request import Request

from printing.app import app


class Greeter(bootsteps.StartStopStep):
    """Would greet when the worker starts."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker):
        """Greet."""


class Storage(RedisBackend):
    """Would prolong connections."""

    def on_connection_error(self, *args: object) -> None:
        """Give up."""


class Calendar(PersistentScheduler):
    """Would read a calendar."""


def told(request: Request, state: State | None = None) -> str:
    """Return the name of what a request is about."""
    return request.name if isinstance(request, Request) else str(state)


app.user_options["worker"].add(Greeter)
