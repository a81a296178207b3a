"""The service's own application: each task carries the id of the web request that sent it."""

import time
from contextlib import contextmanager

from flask import g, has_request_context

from lavoro import Celery, Task

try:
    from kombu import Exchange, Queue
except ImportError:  # it came with Celery

    class Exchange(str):
        """The name of an exchange."""

    class Queue:
        """A queue with the attributes of kombu's."""

        def __init__(self, name, exchange=None, routing_key=None):
            self.name, self.exchange, self.routing_key = name, exchange, routing_key
            self.queue_arguments = {}


QUEUES = ("send-mail-tasks", "send-text-tasks", "retry-tasks", "notify-internal-tasks")


def make_task(app):
    """Return the class of the service's tasks."""

    class NoticesTask(Task):
        abstract = True
        start = None
        early_log_level = "INFO"

        @property
        def queue_name(self):
            return (self.request.get("delivery_info") or {}).get("routing_key", "none")

        @property
        def request_id(self):
            # Note that each header is an attribute of the request.
            return self.request.get("notices_request_id")

        @contextmanager
        def app_context(self):
            with app.app_context():
                g.request_id = self.request_id
                yield

        def on_success(self, retval, task_id, args, kwargs):
            with self.app_context():
                app.logger.warning("done %s queue=%s request=%s", self.name, self.queue_name, self.request_id)

        def on_retry(self, exc, task_id, args, kwargs, einfo):
            with self.app_context():
                app.logger.warning(
                    "retry %s args=%s why=%r request=%s", self.name, list(args), str(exc), self.request_id
                )

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            with self.app_context():
                app.logger.warning(
                    "failed %s args=%s why=%s einfo=%s request=%s",
                    self.name, list(args), type(exc).__name__, einfo.type.__name__, self.request_id,
                )  # fmt: skip

        def __call__(self, *args, **kwargs):
            with self.app_context():
                self.start = time.monotonic()
                return super().__call__(*args, **kwargs)

        def apply_async(self, args=None, kwargs=None, task_id=None, producer=None, link=None, link_error=None,
                        **options):  # fmt: skip
            group = options.pop("MessageGroupId", None)
            if group is None:
                group = "-".join(filter(None, ("queue", options.get("queue"))))
            return super().apply_async(
                args, kwargs, task_id, producer, link, link_error, MessageGroupId=group, **options
            )

    return NoticesTask


class NoticesCelery(Celery):
    """An application that is made before the site is known."""

    def init_app(self, app):
        prefix = app.config["NOTICES_PREFIX"]
        super().__init__(task_cls=make_task(app))
        self.conf.update(app.config["CELERY"])
        self.conf.task_queues = [
            Queue(prefix + name, Exchange("default"), routing_key=prefix + name) for name in QUEUES
        ]
        self.conf.task_default_queue = f"{prefix}notify-internal-tasks"
        self._app = app

    def send_task(self, name, args=None, kwargs=None, **other_kwargs):
        other_kwargs["headers"] = other_kwargs.get("headers") or {}
        if has_request_context() and "request_id" in g:
            other_kwargs["headers"]["notices_request_id"] = g.request_id
        return super().send_task(name, args, kwargs, **other_kwargs)
