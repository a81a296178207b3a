"""Code of a user, as mypy --strict must understand it: never run, only checked."""

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

from lavoro import AsyncResult, Celery, EagerResult, Lavoro, Task, current_app, shared_task

app = Lavoro("shop")
celery: Lavoro = Celery("shop")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(queue="slow", max_retries=3)
def slow(name: str, *, loud: bool = False) -> str:
    return name


@app.task()
def empty() -> None: ...


@app.task(bind=True, autoretry_for=(OSError,))
def bound(self: Task[..., Any], url: str) -> list[int]:
    raise self.retry(countdown=5)


@app.task(bind=False, name="unbound")
def unbound(x: float) -> float:
    return x


@shared_task
def shared(x: int) -> str:
    return str(x)


@shared_task(ignore_result=True)
def shared_with_options(x: int) -> bytes:
    return bytes(x)


@shared_task(bind=True)
def shared_bound(self: Task[..., Any], x: int) -> dict[str, int]:
    self.update_state(state="PROGRESS", meta={"x": x})
    return {"retries": self.request.retries}


def good() -> None:
    assert_type(add.delay(1, 2), AsyncResult[int])
    assert_type(add.delay(1), AsyncResult[int])
    assert_type(add.delay(x=1).get(timeout=5), int)
    assert_type(add(1), int)
    assert_type(slow.delay("a", loud=True).get(), str)
    assert_type(empty.delay(), AsyncResult[None])
    assert_type(bound.delay("https://example.org").get(), list[int])
    assert_type(bound.apply(("https://example.org",)), EagerResult[list[int]])
    assert_type(unbound.delay(1.5).get(), float)
    assert_type(shared.delay(1).get(), str)
    assert_type(shared_with_options.delay(1).get(), bytes)
    assert_type(shared_bound.delay(1).get(), dict[str, int])
    assert_type(add.apply_async((1, 2), countdown=5), AsyncResult[int])
    assert_type(add.delay_many([(1, 2), {"x": 3}]), list[AsyncResult[int]])
    assert_type(add.AsyncResult("id").get(), int)
    assert_type(app.send_task("name"), AsyncResult[Any])
    assert_type(add.delay(1).state, str)
    assert_type(add.s(1, 2).delay(), AsyncResult[int])
    assert_type(add.si(1, y=2).apply_async().get(), int)
    assert_type((add.s(1) | slow.s(loud=True)).delay(), AsyncResult[str])
    result: AsyncResult[object] = add.delay(1)
    print(result, current_app.conf.timezone)
    with app.transaction(object()):
        add.delay(1)


def bad() -> None:
    add.delay("1")  # E: arg-type
    add.delay()  # E: call-arg
    add.delay(1, 2, 3)  # E: call-arg
    slow.delay("a", quiet=True)  # E: call-arg
    bound.delay()  # E: call-arg
    bound.delay(None, "url")  # E: call-arg,arg-type
    shared.delay("x")  # E: arg-type
    add.si("1", 2)  # E: arg-type
    add.s(1) | add.delay(1)  # E: operator
    shared_bound.delay("x")  # E: arg-type
    text: str = add.delay(1).get()  # E: assignment
    print(text)
