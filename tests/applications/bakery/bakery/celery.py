"""The application, in the module where the command looks for it."""

from __future__ import absolute_import, unicode_literals  # noqa: UP010

import os

from lavoro import Celery, signals

os.environ.setdefault("BAKERY_SETTINGS", "bakery.settings")

app = Celery("bakery")
app.config_from_envvar("BAKERY_SETTINGS")
app.autodiscover_tasks(lambda: ["bakery.oven", "bakery.till", "bakery.web"])


@signals.before_task_publish.connect
def sign(sender=None, headers=None, **_):
    """Say who has sent the task."""
    headers["baker"] = os.environ.get("BAKER", "nobody")


@signals.after_task_publish.connect(sender="bakery.till.tasks.sell")
def count(sender=None, **_):
    """Count what is sold."""
    app.sold = getattr(app, "sold", 0) + 1


@app.task(bind=True)
def debug_task(self):
    """Return what the request tells."""
    return [self.name, self.request.baker, self.request.delivery_info["routing_key"]]
