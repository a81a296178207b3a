"""Code of a user, never run: `make lint` finds each error that mypy must find, and each that it must not find."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Annotated, Any

from typing_extensions import assert_type

from lavoro import (
    AsyncResult,
    Celery,
    EagerResult,
    GroupResult,
    Lavoro,
    Signature,
    Task,
    chord,
    current_app,
    given,
    group,
    shared_task,
    signature,
)
from lavoro.middleware import Middleware, RunCall, SendCall, TimeLog
from lavoro.shared import on_shutdown

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


@app.task
def letter(to: str, pages: int, stamp: bytes, *, sealed: bool = False) -> str:
    return to


@app.task
def report(numbers: list[int], to: str = "all") -> bytes:
    return b""


@app.task
def anything(*args: Any, **kwargs: Any) -> str:
    return ""


@app.task
def numbers(*values: int, key: str = "") -> int:
    return sum(values)


@app.task
def errback(request: Any, exc: BaseException, traceback: Any, key: str) -> None: ...


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


class Mailer:
    """What a resource makes."""


@app.resource
def mailer() -> Iterator[Mailer]:
    yield Mailer()


@app.resource(name="other")
def other_mailer(mailer: Mailer) -> Generator[Mailer, None, None]:
    yield mailer


@app.task
def mail(to: str, mailer: Mailer = given) -> str:
    return to


@app.task
def mail_without_default(to: str, mailer: Annotated[Mailer, mailer]) -> str:
    return to


@app.on_startup
def start() -> int:
    return 5


@app.on_startup(scope="fleet")
def start_fleet(mailer: Mailer) -> None: ...


@on_shutdown(scope="worker")
def stop() -> None: ...


def good_structure() -> None:
    assert_type(mailer.get(), Mailer)
    assert_type(other_mailer.get(), Mailer)
    assert_type(start(), int)
    assert_type(mail.delay("a"), AsyncResult[str])
    assert_type(mail("a", mailer=Mailer()), str)
    app.discover("shop.domain", "shop.reports")
    Lavoro(discover="shop"), Lavoro(discover=["shop", "bar"])
    with app.override(mailer, Mailer()) as fake:
        assert_type(fake, Mailer)


def bad_structure() -> None:
    mail_without_default.delay("a")  # type: ignore[call-arg]  # a type checker cannot know that it is a resource
    app.override(mailer, 5)  # type: ignore[misc]
    app.on_startup(scope="node")  # type: ignore[call-overload]
    app.on_shutdown(scope="fleet")  # type: ignore[call-overload]
    app.resource(start)  # type: ignore[arg-type]


@app.middleware.add
class Tenant(Middleware):
    def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        call.args = (*call.args, call.request.get("tenant"))
        return proceed(call)

    def send(self, call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
        call.headers["tenant"] = "acme"
        return proceed(call)


@app.middleware.around_run
def around(call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
    return proceed(call)


def good() -> None:
    assert_type(Tenant(), Tenant)
    app.middleware.insert(0, TimeLog(slow=1.0))
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
    good_signatures()
    good_canvases()
    result: AsyncResult[object] = add.delay(1)
    print(result, current_app.conf.timezone)
    with app.transaction(object()):
        add.delay(1)


def good_signatures() -> None:
    """Complete, or with up to three of the first arguments left to the call."""
    assert_type(add.s(1, 2), Signature[int])
    assert_type(letter.s("a", 1, b"c", sealed=True), Signature[str])
    assert_type(letter.s(1, b"c"), Signature[str])
    assert_type(letter.s(b"c", sealed=True), Signature[str])
    assert_type(letter.s(pages=1, stamp=b"c"), Signature[str])
    assert_type(letter.s(sealed=True), Signature[str])
    assert_type(letter.s(), Signature[str])
    assert_type(letter.signature(("a",)), Signature[str])
    assert_type(empty.s(), Signature[None])
    assert_type(bound.s(), Signature[list[int]])
    assert_type(bound.s("https://example.org"), Signature[list[int]])
    assert_type(shared_bound.s(x=1), Signature[dict[str, int]])
    assert_type(anything.s(1, "b", c=2), Signature[str])
    assert_type(numbers.s(1, 2, key="a"), Signature[int])
    assert_type(signature("by.name", args=(1,)), Signature[Any])
    assert_type(add.s(1, 2).set(countdown=3).on_error(errback.s("key")).clone(), Signature[int])


def good_canvases() -> None:
    """``|`` has the type of the last, a group the list of its members', a chord its body's."""
    pair = group(add.s(1), add.s(2))
    assert_type(pair, "group[int]")
    assert_type(group(add.s(i) for i in range(3)), "group[int]")
    assert_type(group([add.s(1), numbers.s()]), "group[int]")
    assert_type(pair.delay(1), GroupResult)
    assert_type(pair(1), GroupResult)
    assert_type(pair.apply_async(countdown=1), GroupResult)
    assert_type(add.s(1) | pair, Signature[list[int]])
    assert_type(pair | report.s("me"), Signature[bytes])
    assert_type((add.s(1, 2) | add.s(4) | slow.s()).delay().get(), str)
    total = chord([add.s(1), add.s(2)], report.s(to="me"))
    assert_type(total, "chord[bytes]")
    assert_type(total(), AsyncResult[bytes])
    assert_type(total | shared.s(), Signature[str])
    assert_type(chord(add.s(i) for i in range(3))(report.s()), AsyncResult[bytes])


def bad() -> None:
    add.delay("1")  # type: ignore[arg-type]
    add.delay()  # type: ignore[call-arg]
    add.delay(1, 2, 3)  # type: ignore[call-arg]
    slow.delay("a", quiet=True)  # type: ignore[call-arg]
    bound.delay()  # type: ignore[call-arg]
    bound.delay(None, "url")  # type: ignore[call-arg,arg-type]
    shared.delay("x")  # type: ignore[arg-type]
    add.si("1", 2)  # type: ignore[arg-type]
    add.s("1")  # type: ignore[call-overload]
    add.s("1", 2)  # type: ignore[call-overload]
    add.s(1, 2, 3)  # type: ignore[call-overload]
    add.s(z=1)  # type: ignore[call-overload]
    letter.s("a", "1", b"c")  # type: ignore[call-overload]
    letter.s(1, "c")  # type: ignore[call-overload]
    letter.s("a", 1)  # type: ignore[call-overload]
    letter.s(sealed="no")  # type: ignore[call-overload]
    empty.s(1)  # type: ignore[call-overload]
    bound.s(5)  # type: ignore[call-overload]
    numbers.s("1")  # type: ignore[call-overload]
    shared.s(x="1")  # type: ignore[call-overload]
    add.s(1, 2) | report.s(5)  # type: ignore[call-overload]
    add.si(1).set(countdown=1) | slow.si(quiet=True)  # type: ignore[call-arg]
    chord([add.s(1)])(report.s(5))  # type: ignore[call-overload]
    list_of_text: Signature[list[str]] = group(add.s(1, 2))  # type: ignore[arg-type]
    number: AsyncResult[int] = chord([add.s(1)], report.s()).delay()  # type: ignore[assignment]
    print(list_of_text, number)
    add.s(1) | add.delay(1)  # type: ignore[operator]
    shared_bound.delay("x")  # type: ignore[arg-type]
    text: str = add.delay(1).get()  # type: ignore[assignment]
    print(text)
