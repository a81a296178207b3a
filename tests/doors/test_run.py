"""``lavoro run``: one task, here and now, as a worker would run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lavoro.worker.config import FAILED
from tests.doors.test_cli import NOWHERE, lavoro

SHOP = """
import datetime as dt, sys, time
from lavoro import Lavoro, signals
from lavoro.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Lavoro("shop")

def tell(text):
    print(text, file=sys.stderr)

@app.task
def add(x, y=0): return x + y
@app.task
def say(): print("to the log"); return "\u00e9"
@app.task
def leave(): sys.exit(7)
@app.task
def ignore(): raise Ignore("not now")
@app.task
def reject(): raise Reject("never")
@app.task
def when(): return (dt.date(2030, 1, 31),)
@app.task
def thing(): return object()
@app.task(soft_time_limit=0.2)
def soft():
    try: time.sleep(60)
    except SoftTimeLimitExceeded: return "cleaned up"
@app.task
def wait(): time.sleep(60)
@app.task(soft_time_limit=0.2, time_limit=0.5)
def both():
    try: time.sleep(60)
    except Exception: time.sleep(60)
@app.task(time_limit=0.2)
def stubborn():
    while True:
        try: time.sleep(60)
        except BaseException: pass
@app.task(bind=True, max_retries=2)
def again(self, failing):
    tell(f"try {self.request.retries}")
    if failing or self.request.retries < 2: raise self.retry(countdown=600, exc=ValueError("still"))
    return self.request.retries
@app.task(bind=True)
def swap(self): return self.replace(add.s(1, 2))
@app.task
def waits(): return app.AsyncResult("an id").get(timeout=1)
class Careless(app.Task):
    def on_failure(self, *args): tell("on_failure"); raise KeyError("the handler's")
@app.task(base=Careless)
def boom(): raise ValueError("two\\nlines")

@app.on_startup
def start(): tell("started")
@app.on_shutdown
def stop(): tell("stopped")
@app.resource
def engine():
    tell("opened")
    yield "the engine"
    tell("closed")
@app.task
def uses(x, engine): return [x, engine]
for name in ("worker_process_init", "task_prerun", "task_failure", "task_success", "worker_process_shutdown"):
    getattr(signals, name).connect(lambda name=name, **_: tell(name), weak=False)
"""
OF_THE_PROCESS = "started worker_process_init task_prerun"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "shop.py").write_text(SHOP)
    (folder / "plain.py").write_text(
        "from lavoro import Lavoro\napp = Lavoro('plain')\n@app.task\ndef add(x, y): return x + y\n"
    )
    (folder / "more.py").write_text("from plain import app\n@app.task\ndef double(x): return 2 * x\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["plain.add", "2", "3"], "5"),
        (["plain.add", "-2", "y=5"], "3"),
        (["plain.add", "a", 'y="b"'], '"ab"'),
        (["plain.add", "[1]", "y=[2.5, null]"], "[1, 2.5, null]"),
        (["plain.add", "--", "-x", "=y"], '"-x=y"'),
    ],
)
def test_run_prints_the_result_of_one_task(folder: Path, arguments: list[str], printed: str) -> None:
    """Nothing is stored: the database is not there."""
    ended = lavoro(folder, "run", "-A", "plain", *arguments, url=NOWHERE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{printed}\n", "")


def test_run_tells_of_a_task_that_fails(folder: Path) -> None:
    ended = lavoro(folder, "run", "-A", "plain", "plain.add", "1", "y=a", url=NOWHERE)
    [*log, last] = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout) == (FAILED, "")
    assert last.startswith("lavoro: plain.add ended as FAILURE: TypeError: unsupported operand")
    assert any("Traceback" in line for line in log)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("plain.ad", "the application has no task 'plain.ad': did you mean 'plain.add'?"),
        ("mail", "the application has no task 'mail': it knows plain.add"),
    ],
)
def test_run_of_an_unknown_task(folder: Path, name: str, told: str) -> None:
    ended = lavoro(folder, "run", "-A", "plain", name, url=NOWHERE)
    assert (ended.returncode, ended.stderr) == (1, f"lavoro: {told}\n")


def words(log: str) -> list[str]:
    """The single words of a log, each the print of a function."""
    return re.findall(r"^\[.*WARNING/MainProcess\] (\w+)$", log, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["shop.when"], '[{"__type__": "date", "__value__": "2030-01-31"}]'),
        (["shop.thing"], "null"),
        (["shop.soft"], '"cleaned up"'),
        (["shop.again", "false"], "2"),
        (["shop.uses", "3"], '[3, "the engine"]'),
        (["shop.say"], '"\u00e9"'),
        (["shop.swap"], "3"),
        (["-I", "more", "more.double", "4"], "8"),
    ],
)
def test_the_result_alone_is_printed(folder: Path, arguments: list[str], printed: str) -> None:
    """As a worker stores it; prints of the task are in the log."""
    app = "plain" if "more" in arguments else "shop"
    ended = lavoro(folder, "run", "-A", app, *arguments, url=NOWHERE)
    assert (ended.returncode, ended.stdout) == (0, f"{printed}\n"), ended.stderr
    json.loads(ended.stdout)


def test_prints_are_in_the_log(folder: Path) -> None:
    ended = lavoro(folder, "run", "-A", "shop", "shop.say", url=NOWHERE)
    assert "WARNING/MainProcess] to the log" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shop.leave"], "shop.leave ended as FAILURE: SystemExit: 7"),
        (["shop.reject"], "shop.reject ended as REJECTED: Reject: "),
        (["shop.again", "true"], "shop.again ended as FAILURE: ValueError: still"),
        (["shop.boom"], "shop.boom ended as FAILURE: ValueError: two; lines"),
        (["shop.both"], "shop.both ended as FAILURE: TimeLimitExceeded: hard time limit of 0.5 s"),
        (
            ["--time-limit", "0.2", "shop.wait"],
            "shop.wait ended as FAILURE: TimeLimitExceeded: hard time limit of 0.2 s",
        ),
        (
            ["--soft-time-limit", "0.2", "shop.wait"],
            "shop.wait ended as FAILURE: SoftTimeLimitExceeded: soft time limit",
        ),
        (["shop.waits"], "shop.waits ended as FAILURE: RuntimeError: Never call result.get() within a task!"),
        (["shop.thing", "--", "1"], "shop.thing ended as FAILURE: TypeError: thing() takes 0 positional arguments"),
    ],
)
def test_a_task_that_fails(folder: Path, arguments: list[str], told: str) -> None:
    """It is told in one line, and by an exit code of its own; nothing that it raises ends the command."""
    ended = lavoro(folder, "run", "-A", "shop", *arguments, url=NOWHERE)
    assert (ended.returncode, ended.stdout) == (FAILED, ""), ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"lavoro: {told}")


def test_results_that_must_be_storable(folder: Path) -> None:
    (folder / "strict.py").write_text("from shop import app\napp.conf.lavoro_strict_results = True\n")
    ended = lavoro(folder, "run", "-A", "strict", "shop.thing", url=NOWHERE)
    assert (ended.returncode, ended.stdout) == (FAILED, "")
    assert "ended as FAILURE: TypeError: Object of type object is not JSON serializable" in ended.stderr


def test_a_task_that_ignores_its_call(folder: Path) -> None:
    ended = lavoro(folder, "run", "-A", "shop", "shop.ignore", url=NOWHERE)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.splitlines()[-1] == "lavoro: shop.ignore ended as IGNORED"


def test_a_task_that_does_not_end_at_its_limit(folder: Path) -> None:
    """The process ends a second later, with its stack."""
    ended = lavoro(folder, "run", "-A", "shop", "shop.stubborn", url=NOWHERE)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "in stubborn" in ended.stderr


@pytest.mark.parametrize(("name", "end"), [("shop.uses", "task_success"), ("shop.boom", "task_failure on_failure")])
def test_the_process_begins_and_ends_as_that_of_a_worker(folder: Path, name: str, end: str) -> None:
    """Functions, resources and signals, whether the task fails or not; an error of a handler changes nothing."""
    arguments = ["3"] if name == "shop.uses" else []
    ended = lavoro(folder, "run", "-A", "shop", name, *arguments, url=NOWHERE)
    opened, closed = ("opened ", " closed") if arguments else ("", "")
    order = f"started {opened}worker_process_init task_prerun {end} stopped worker_process_shutdown{closed}"
    assert sorted(words(ended.stderr)) == sorted(order.split()), ended.stderr
    assert words(ended.stderr)[: len(OF_THE_PROCESS.split())] == order.split()[: len(OF_THE_PROCESS.split())]


def test_a_start_that_fails(folder: Path) -> None:
    (folder / "lame.py").write_text("from shop import app\n@app.on_startup\ndef fail(): raise OSError('no licence')\n")
    ended = lavoro(folder, "run", "-A", "lame", "shop.add", "1", url=NOWHERE)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "the start-up function" in ended.stderr.splitlines()[-1]
    assert "no licence" in ended.stderr.splitlines()[-1]


def test_the_middleware_and_the_hooks_run(folder: Path) -> None:
    (folder / "wrapped.py").write_text(
        "import sys\nfrom lavoro import Lavoro\napp = Lavoro('wrapped')\n@app.middleware.around_run\n"
        "def twice(call, proceed): return 2 * proceed(call)\n"
        "@app.task(before=lambda call: print('before', file=sys.__stderr__))\ndef one(): return 1\n"
    )
    ended = lavoro(folder, "run", "-A", "wrapped", "wrapped.one", url=NOWHERE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "2\n", "before\n")
