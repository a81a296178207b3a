"""Applications in the shapes that are common among Celery's, with Lavoro's import lines and with Celery's.

Each value here is what Celery gives for the same application, unless a comment says otherwise.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.applications.conftest import Application


def test_a_site_made_by_a_factory(application: Application) -> None:
    application.take("orders")
    application.start("-A", "make_celery", "worker", "--loglevel", "INFO")
    answers = application.use("use.py")
    log = application.stop()

    def ended(value: object, *, well: bool = True) -> dict[str, object]:
        return {"ready": True, "successful": well, "value": value}

    id = "1b671a64-40d5-491e-99b0-da01ff1f3341"
    assert answers == {
        "price": ended("6 EUR"),
        "pack": ended({"current": 3, "total": 3, "tries": 0, "id": id}),
        "charge": ended(2),
        "broke": ended("ConnectionError('amex: try 3')", well=False),
        "export": ended("cleaned up"),
        "ship": ended("OSError('no way for a')", well=False),
        "later": ended("4 EUR"),
        "unknown": {"ready": False, "successful": None, "value": "None"},
    }
    assert re.search(r"INFO/.*\] orders.tasks.forget\[.+\]: sent from orders, in a request: False\n", log)
    assert (
        len(re.findall(r"Task orders.tasks.charge\[.+\] retry: Retry in 0s: ConnectionError\('amex: try \d'\)", log))
        == 3
    )
    assert re.search(r"ERROR/.*\] Task orders.tasks.ship\[.+\] raised unexpected: OSError\('no way for a'\)\n", log)


def test_a_site_of_one_module(application: Application) -> None:
    application.take("gallery")
    application.start("-A", "gallery.celery", "worker", "-l", "info", "-c", "4")
    answers = application.use("use.py")
    log = application.stop()

    def ended(state: str, status: str) -> dict[str, object]:
        return {"state": state, "current": 1, "total": 1, "status": status}

    done = {"current": 3, "total": 3, "status": "Task completed!", "result": 42}
    assert answers == {
        "develop": {"state": "SUCCESS", **done},
        "refuse": {"state": "REFUSED", "name": "cat.gif", "allowed": ["jpg", "png"]},
        "crop": ended("SUCCESS", "25"),
        "zero": ended("FAILURE", "integer division or modulo by zero"),
        "count": ended("SUCCESS", "2"),
        "unknown": {"state": "PENDING", "current": 0, "total": 1, "status": "Pending..."},
        "mails": [None, None],
        "setting": [["jpg", "png"], "not for a real site", True],
        "here": 2,
    }
    assert "gallery@example.org: now\n" in log
    assert "gallery@example.org: later\n" in log
    assert re.search(r"Task gallery.refuse\[.+\] ignored\n", log)


def test_a_service_with_classes_of_its_own(application: Application) -> None:
    queues = [f"test-{name}-tasks" for name in ("send-mail", "send-text", "retry", "notify-internal")]
    application.take("notices")
    application.start(
        "-A", "run_celery.notices_celery", "worker", "-c", "4", "-Q", ",".join(queues), "--pool=threads", "-l", "INFO",
    )  # fmt: skip
    quick, slow, down, grouped, text, wrong, direct = application.use("use.py")
    log = application.stop()

    def delivered(address: str, **different: Any) -> list[object]:
        usual = {"app": "notices", "request": "request-1", "header": "request-1", "tries": 0, "queue": queues[0]}
        return ["SUCCESS", {"address": address, **usual, **different}]

    assert quick == delivered("quick@x", group="first")
    assert slow == delivered("slow@x", tries=1, queue=queues[2], group=f"queue-{queues[2]}")
    assert (down[0], down[1][0]) == ("FAILURE", "MaxRetriesExceededError")
    assert re.fullmatch(r"Can't retry deliver_mail\[.+\] args:\('down@x',\) kwargs:\{\}", down[1][1])
    assert grouped == delivered("quick@y", group=f"queue-{queues[0]}")
    assert text == ["SUCCESS", "123"]
    assert wrong == ["FAILURE", ["ValueError", "abc is no number"]]
    assert direct == ["SUCCESS", queues[3]]

    assert f"done deliver_mail queue={queues[2]} request=request-1\n" in log
    assert "failed deliver_text args=['abc'] why=ValueError einfo=ValueError request=request-1\n" in log
    assert "failed deliver_mail args=['down@x'] why=MaxRetriesExceededError" in log
    # Celery gives no exception to on_retry where retry() is given none; here it is the one that is handled.
    assert log.count("retry deliver_mail args=['down@x'] why='down@x is down' request=request-1\n") == 2
    assert "team: down@x is down\n" in log
    assert "team: hello\n" in log
    assert "process begins\n" in log
    signals = re.findall(r"signal (\w+) deliver_mail\n", log)
    counts = {"prerun": 7, "postrun": 7, "success": 3, "retry": 3, "failure": 1}
    assert {name: signals.count(f"task_{name}") for name in counts} == counts
    assert re.search(r"INFO/.*\] Task deliver_text\[.+\] raised expected: ValueError\('abc is no number'\)\n", log)


def test_packages_with_tasks_of_their_own(application: Application) -> None:
    application.take("library")
    application.start(
        "-A", "library", "worker", "-l", "INFO", "-Q", "celery,loans,rare,jobs", "-P", "prefork", "-c", "2"
    )  # fmt: skip
    checked = application.use("manage.py", "check")
    answers = application.use("manage.py", "send")
    log = application.stop()

    assert {"library.index", "library.catalogue.jobs.rebuild"} <= set(checked.pop("tasks"))
    assert checked == {
        "lend": "loans",
        "called": ["man", "old"],
        "eager": ["SUCCESS", [1, {"times": 1}, True]],
        "applied": ["loans", None, None, "left", "library"],
        "raised": "b",
        "schedule": {
            "remind": ["<crontab: 30 7 * * mon (m/h/dM/MY/d)>", "library.loans.tasks.remind"],
            "often": ["0:05:00", "library.loans.tasks.remind"],
            "hourly": ["3600.0", "library.loans.tasks.remind"],
        },
        "settings": [60, "1 day, 0:00:00", "Europe/Rome", True],
    }
    assert answers == {
        "lend": ["SUCCESS", ["loans", "loans", 5, "left", "library"]],
        "rare": ["SUCCESS", ["loans", "rare", 0, "left", "library"]],
        "lent": ["FAILURE", ["NoCopies", "b"]],
        "remind": ["FAILURE", ["RuntimeError", "ada: try 1 of 1"]],
        "nobody": ["FAILURE", ["KeyError", "'nobody'"]],
        "again": ["SUCCESS", [2, {"times": 2}, True]],
        "index": ["SUCCESS", ["man", "old"]],
        "scan": ["SUCCESS", {"codes": [1, 2], "kind": "list"}],
        "rebuild": ["SUCCESS", ["jobs", ["x", "y"], {"deep": True}, False]],
        "by name": ["SUCCESS", ["sea"]],
        "started": [["SUCCESS", ["jobs", [number], {}, True]] for number in range(2)],
        "extended": ["library.loans.tasks.lend", ["b"], "loans"],
        "failed": [True, True, True],
        "audit": ["TOO_LONG", "{'seconds': 0.2}"],
        "drop": True,
    }
    assert "before library.loans.tasks.lend ['a']\n" in log
    assert log.count("said Retry in 0s\n") == 2
    assert "after library.loans.tasks.lend FAILURE NoCopies('b')\n" in log
    assert re.search(r"Task rebuilt\[.+\] succeeded in", log)
    assert re.search(r"Task library.loans.tasks.drop\[.+\] reject requeue=False: no such shelf\n", log)
    assert "the library has audit, hourly, often, remind\n" in log


def test_a_site_with_old_names_of_settings(application: Application) -> None:
    application.take("bakery")
    application.start("-A", "bakery", "worker", "-l", "info", "-c", "4", "-Q", "bakery,oven")
    answers = application.use("use.py")
    log = application.stop()

    assert answers == {
        "mix": ["SUCCESS", "flourwater"],
        "bake": ["SUCCESS", {"bread": "dough", "tries": 1}],
        "burnt": ["FAILURE", ["TooHot", "300"]],
        "glaze": ["SUCCESS", "plain"],
        "proof": ["SUCCESS", "too long"],
        "sell": ["SUCCESS", 6],
        "unknown": ["FAILURE", ["KeyError", "'cake'"]],
        "count": ["FAILURE", ["KeyError", "'till 2'"]],
        "debug": ["SUCCESS", ["bakery.celery.debug_task", "nobody", "bakery"]],
        "line": ["SUCCESS", "{'bread': 'ryewater', 'tries': 0} in the shelf"],
        "chain": ["SUCCESS", "42 in the drawer"],
        "linked": ["ab", "ab in the book"],
        "taste": ["TASTED", {"bread": "rye"}],
        "again": "flourwater",
        "parents": [{"bread": "ryewater", "tries": 0}, "ryewater", 42],
        "settings": ["bakery", "bakery", "12:00:00", 60, "Europe/Lisbon", ["clean", "count"], 2],
        "unsent": True,
    }
    assert re.search(r"INFO/.*\] bakery.oven.tasks.mix\[.+\]: mixes flour and water\n", log)
    assert re.search(r"WARNING/.*\] bakery.oven.tasks.glaze\[.+\]: no glaze after 2 tries\n", log)
    assert re.search(r"Task bakery.till.tasks.count\[.+\] raised expected: KeyError\('till 2'\)\n", log)
    assert re.search(r"Task bakery.oven.tasks.taste\[.+\] ignored\n", log)
    assert re.search(r"INFO/.*\] bakery.oven.tasks.clean\[.+\]: cleans\n", log)


@pytest.mark.parametrize("application", ["celery"], indirect=True)
def test_a_service_that_imports_celery_from_many_places(application: Application) -> None:
    application.take("printing")
    application.start("-A", "printing.app", "worker", "-l", "info", "-c", "4", "-Q", "print,knives,urgent")
    answers = application.use("use.py")
    log = application.stop()

    assert answers == {
        "typeset": ["SUCCESS", ["a book", " of ho", "urs"]],
        "fold": ["SUCCESS", ["a4", 3, 7]],
        "urgent": ["SUCCESS", ["a5", "urgent"]],
        "wrong": ["FAILURE", ["ValueError", "no sheet"]],
        "book": ["SUCCESS", {"cuts": ["x", "y"], "children": True}],
        "signature": ["SUCCESS", ["a3", 3, 1]],
        "by name": ["SUCCESS", 3],
        "follow": ["SUCCESS", "SUCCESS"],
        "rejected": True,
        "extended": ["tasks.cut", ["a5"], {"urgent": True}, "urgent"],
        "here": [["a", "b"], ["a1", 3, "none"], True],
        "travelled": ["SUCCESS", ["b", "knives"]],
        "revoked": ["revoked", True],
        "registry": [True, True],
    }
    assert re.search(r"\n.*tasks.cut says cuts a5\n", log)
    assert re.search(r"INFO/.* typeset is done: \['a book', ' of ho', 'urs'\]\n", log)
    assert re.search(r"INFO/.* tasks.cut has failed: ValueError\('no sheet'\), ValueError\n", log)
    assert re.search(r"Task tasks.proofread\[.+\] reject requeue=False: no words\n", log)
