"""`autodiscover_tasks`, `imports` and `include`: which modules a worker loads, and when."""

import sys
import types

from celery import Celery, signals
from record import attempt, say

app = Celery("autodiscover", include=["discovered.included"])
app.conf.imports = ("discovered.imported",)
app.autodiscover_tasks(["discovered"])
app.autodiscover_tasks(lambda: ["discovered.inner"], related_name="jobs")
app.autodiscover_tasks(["discovered.absent"])


@signals.import_modules.connect
def imports(sender=None, **more):
    say("import_modules", sender.main)


@app.task
def known():
    return sorted(name for name in app.tasks if name.startswith("discovered"))


def part_worker():
    attempt("known", known.delay().get, timeout=30)
    for name in ("discovered.tasks.one", "discovered.inner.jobs.two", "discovered.imported.three"):
        attempt(name, app.send_task(name).get, timeout=30)


def part_client():
    say("before", sorted(name for name in sys.modules if name.startswith("discovered")))
    attempt("import_default_modules", lambda: app.loader.import_default_modules() is not None)
    say("after", sorted(name for name in sys.modules if name.startswith("discovered")))


def part_forced():
    other = Celery("forced", set_as_current=False)
    sys.modules["own_package"] = types.ModuleType("own_package")
    attempt("missing package", lambda: other.autodiscover_tasks(["no_such_package"], force=True))
    attempt("broken module", lambda: other.autodiscover_tasks(["discovered.broken"], force=True))
    attempt("no related name", lambda: other.autodiscover_tasks(["discovered.whole"], related_name=None, force=True))
    attempt("whole", lambda: "discovered.whole" in sys.modules)
