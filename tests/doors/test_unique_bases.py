"""Code written for celery-once and celery-singleton, with their bases as compat has them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doors.test_alias import ask

ONCE = """
from celery import Celery
from celery_once import AlreadyQueued, QueueOnce
from lavoro.testing import worker

app = Celery("shop")
app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": {"default_timeout": 3600}}

@app.task(base=QueueOnce, once={"keys": ["order"], "timeout": 60})
def ship(order, note=""):
    return order

@app.task(bind=True, base=QueueOnce, once={"graceful": True}, max_retries=3)
def stock(self, shelf):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries

@app.task(base=QueueOnce, once={"unlock_before_run": True, "graceful": True})
def again(left):
    return again.delay(left).state

def refused(call):
    try:
        return call().id
    except AlreadyQueued as error:
        return [str(error), error.countdown, error.message == str(error)]

first = ship.delay(1, "a")
answer = {
    "refused": refused(lambda: ship.delay(1, note="b")) == [
        f"task {ship.name} is queued already, as {first.id}", 60, True],
    "other": isinstance(refused(lambda: ship.delay(2)), str),
    "graceful here": ship.apply_async((1,), once={"graceful": True}).state,
}
counted = stock.delay("x")
answer["graceful"] = stock.delay("x").state
repeated = again.delay(1)
with worker(app, pool="threads"):
    answer["shipped"] = first.get(timeout=30)
    answer["retries"] = counted.get(timeout=30)
    answer["in itself"] = repeated.get(timeout=30)
answer["later"] = ship.delay(1).created
"""

SINGLETON = """
from celery import Celery
from celery_singleton import DuplicateTaskError, Singleton
from lavoro.testing import worker

app = Celery("shop")

@app.task(base=Singleton)
def add(a, b=2):
    return a + b

@app.task(base=Singleton, unique_on=["user"], raise_on_duplicate=True, lock_expiry=60)
def greet(user, words):
    return words

@app.task(base=Singleton, unique_on="user")
def strict(user, words):
    return words

first = add.delay(1)
greeted = greet.delay("ada", "hello")
strict.delay("ada", "hello")
app.conf.singleton_raise_on_duplicate = True
answer = {}
for task in greet, strict:
    try:
        task.delay("ada", "bye")
    except DuplicateTaskError as error:
        said = f"task {task.name} exists already, as {error.task_id}"
        answer[task.__name__] = [str(error) == said, len(error.task_id)]
answer["task_id"] = None
try:
    greet.delay("ada", "bye")
except DuplicateTaskError as error:
    answer["task_id"] = error.task_id == greeted.id
app.conf.singleton_raise_on_duplicate = False
answer["second"] = add.delay(1, b=2) == first
with worker(app, pool="threads"):
    answer["value"] = first.get(timeout=30)
answer["later"] = add.delay(1) == first
"""


@pytest.fixture(autouse=True)
def database(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database for the programs."""
    monkeypatch.setenv("LAVORO_DATABASE_URL", migrated_url)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (
            ONCE,
            {
                "refused": True,
                "other": True,
                "graceful here": "REJECTED",
                "graceful": "REJECTED",
                "shipped": 1,
                "retries": 2,
                "in itself": "PENDING",
                "later": True,
            },
        ),
        (
            SINGLETON,
            {
                "greet": [True, 36],
                "strict": [True, 36],
                "task_id": True,
                "second": True,
                "value": 3,
                "later": False,
            },
        ),
    ],
    ids=["celery-once", "celery-singleton"],
)
def test_a_program_written_for_it(program: str, expected: dict[str, Any]) -> None:
    assert ask(program) == expected


@pytest.mark.parametrize("base", ["celery_once import QueueOnce as Base", "celery_singleton import Singleton as Base"])
def test_an_argument_that_the_function_does_not_have(base: str) -> None:
    program = f"""
from celery import Celery
from {base}

app = Celery("shop")
try:
    @app.task(base=Base, once={{"keys": ["oder"]}}, unique_on=["oder"], name="ship", lazy=False)
    def ship(order): ...
except ValueError as error:
    answer = str(error)
"""
    said = ask(program)
    assert said == "task 'ship' is unique on the argument 'oder', which its function does not have"
