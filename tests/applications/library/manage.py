"""The application's command: ``manage.py send`` sends tasks and prints results, ``manage.py check`` runs some here."""

import json
import sys
import time

from library import celery_app
from library.catalogue import jobs
from library.catalogue.tasks import Index, scan
from library.loans import tasks as loans


def shown(result):
    """Return the state, and the value or the class and the words of the error."""
    value = result.get(timeout=60, propagate=False)
    return [result.state, [type(value).__name__, str(value)] if isinstance(value, BaseException) else value]


def send():
    """Send each task, and print the results."""
    sent = {
        "lend": loans.lend.delay("a"),
        "rare": loans.lend.apply_async(("a",), {"rare": True}),
        "lent": loans.lend.apply_async(("b",), priority=9, headers={"desk": 1}),
        "remind": loans.remind.delay("ada"),
        "nobody": loans.remind.delay(reader="nobody"),
        "again": loans.again.delay(times=2),
        "index": Index.delay("The Old Man", fold=True),
        "scan": scan.delay([1, 2]),
        "rebuild": jobs.rebuild.apply_async(("x", "y"), {"deep": True}, shadow="rebuilt"),
        "by name": celery_app.send_task("library.index", ["The Sea"]),
    }
    audit = loans.audit.delay()
    dropped = loans.drop.delay()
    started = jobs.start.delay(2).get(timeout=60)
    answers = {name: shown(result) for name, result in sent.items()}
    answers["started"] = [shown(celery_app.AsyncResult(id)) for id in started]
    answers["extended"] = [sent["lent"].name, sent["lent"].args, sent["lent"].queue]
    answers["failed"] = [sent["lent"].failed(), "NoCopies" in sent["lent"].traceback, sent["lend"].successful()]
    until = time.monotonic() + 60
    while audit.state in ("PENDING", "STARTED") and time.monotonic() < until:
        time.sleep(0.02)
    answers["audit"] = [audit.state, str(audit.info)]
    answers["drop"] = dropped.id is not None
    print(json.dumps(answers))


def check():
    """Run tasks here, as the tests of applications do, and print what they return."""
    celery_app.conf.task_always_eager = True
    answers = {"lend": celery_app.tasks["library.loans.tasks.lend"].plugin, "called": Index("The Old Man")}
    answers["tasks"] = celery_app.known
    answers["eager"] = shown(loans.again.delay(times=1))
    answers["applied"] = loans.lend.apply(("a",)).get()
    celery_app.conf.task_eager_propagates = True
    try:
        loans.lend.delay("b")
    except loans.NoCopies as error:
        answers["raised"] = str(error)
    answers["schedule"] = {
        name: [str(entry["schedule"]), entry["task"]] for name, entry in celery_app.conf.beat_schedule.items()
    }
    answers["settings"] = [celery_app.conf.task_soft_time_limit, str(celery_app.conf.result_expires)]
    answers["settings"] += [str(celery_app.conf.timezone), "DEBUG" in celery_app.conf]
    print(json.dumps(answers))


if __name__ == "__main__":
    {"send": send, "check": check}[sys.argv[1]]()
