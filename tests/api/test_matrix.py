"""Every option of a call, on every way in which a canvas sends one: the message has it as that of a single call."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from lavoro import Lavoro, Limit, Rate, chain, chord, group, signals
from lavoro.calling.outbox import composed
from lavoro.canvas import continuation
from lavoro.execution.executor import execute
from lavoro.execution.run_settings import RunSettings
from lavoro.middleware import SendCall
from lavoro.protocol.message import Job, Message
from lavoro.protocol.outcome import Finished
from lavoro.protocol.signing import Keyring
from lavoro.serialization import loads

OPTIONS: dict[str, Any] = {
    "queue": "slow",
    "priority": 7,
    "countdown": 30,
    "eta": dt.datetime(2040, 1, 1, tzinfo=dt.timezone.utc),
    "expires": 60,
    "headers": {"tenant": "x"},
    "task_id": "an id of its own",
    "time_limit": 9,
    "soft_time_limit": 8,
    "ignore_result": True,
    "shadow": "another name",
    "serializer": "pickle",
    "correlation_id": "c",
    "reply_to": "r",
    "argsrepr": "(...)",
    "MessageGroupId": "m",
    "limits": [Limit("shop:{number}", running=2), Rate("mail", 10)],
    "serial": "shop:{number}",
}
KEYS = ["a key of some length"]


@pytest.fixture
def app() -> Lavoro:
    app = Lavoro("matrix", broker="postgresql://127.0.0.1:1/nowhere", set_as_current=False)
    app.conf.update(lavoro_signing_keys=KEYS, lavoro_redact=["secret"], accept_content=["json", "pickle"])
    app.task(name="plain")(lambda *args, **kwargs: None)
    app.task(name="fails")(lambda *args: 1 / 0)
    app.task(name="replaces", bind=True)(lambda self, canvas: self.replace(app.signature(canvas)))
    return app


def sent(app: Lavoro, canvas: Any) -> list[Message]:
    with composed(app) as outbox:
        canvas.apply_async()
    return outbox.messages


def run(app: Lavoro, message: Message) -> list[Message]:
    """Run a task, and return the messages that follow it."""
    settings = RunSettings(
        "n", accept=frozenset({"json", "pickle"}), follow=partial(continuation.follow, app),
        keyring=Keyring(KEYS, required=True), gather=lambda barrier: [],
    )  # fmt: skip
    row = message[:2] + message[9:13] + message[2:4]
    job = Job(*row, 1, 0, 0, dt.datetime.now(dt.timezone.utc), None, False, False)  # type: ignore[arg-type]
    outcome = execute(app.tasks[message.name], job, settings)
    assert isinstance(outcome, Finished)
    assert outcome.follow is not None, outcome
    return list(outcome.follow.messages)


def _followed(app: Lavoro, canvas: Any, **options: Any) -> list[Message]:
    with composed(app) as outbox:
        canvas.apply_async(**options)
    return run(app, outbox.messages[0])


PATHS: dict[str, Callable[[Lavoro, Any], list[Message]]] = {
    "signature": lambda app, sig: sent(app, sig),
    "first of a chain": lambda app, sig: sent(app, chain(sig, app.tasks["plain"].si())),
    "next of a chain": lambda app, sig: _followed(app, chain(app.tasks["plain"].s(), sig)),
    "member of a group": lambda app, sig: sent(app, group(app.tasks["plain"].s(), sig)),
    "member of a header": lambda app, sig: sent(app, chord([app.tasks["plain"].s(), sig], app.tasks["plain"].si())),
    "body of a chord": lambda app, sig: sent(app, chord([app.tasks["plain"].s()], sig)),
    "callback": lambda app, sig: _followed(app, app.tasks["plain"].s(), link=sig),
    "error callback": lambda app, sig: _followed(app, app.tasks["fails"].s(), link_error=sig),
    "replacement": lambda app, sig: _followed(app, app.tasks["replaces"].s(sig)),
}
MEANINGLESS = {("replacement", "task_id"): "it takes the id of the task that it replaces"}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("path", PATHS)
def test_options(app: Lavoro, path: str, option: str) -> None:
    if (path, option) in MEANINGLESS:
        return
    given = app.signature("unknown here", kwargs={"number": 1}, immutable=True, options={option: OPTIONS[option]})
    (single,) = sent(app, given.clone())
    found = [message for message in PATHS[path](app, given) if message.name == "unknown here"]
    assert len(found) == 1
    assert told(found[0], option) == told(single, option)


def told(message: Message, option: str) -> tuple[Any, ...]:
    """The columns of a message, and its options without those of a canvas."""
    options = loads(message.options or "{}")
    assert options.pop("signature")
    kept = {name: value for name, value in options.items() if name not in _OF_CANVAS and name != "eta"}
    own = str(message.id) if option == "task_id" else None
    columns = (own, *message[2:4], message.eta, message.countdown, message.expires, message.expires_in)
    keys = message.place and message.place.keys
    return columns, kept, keys, message.kwargs, message.payload is None


_OF_CANVAS = {
    "chain", "chord", "group_id", "group_index", "root_id", "parent_id", "replaced_task_nesting", "content_type",
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("path", PATHS)
def test_options_pass_through_middleware(app: Lavoro, path: str, option: str) -> None:
    """A call is the same with middleware that changes nothing."""

    @app.middleware.around_send
    def look(call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
        if call.name == "unknown here":
            passed.append(call.name)
        return proceed(call)

    passed: list[str] = []
    test_options(app, path, option)
    assert len(passed) == (0 if (path, option) in MEANINGLESS else 2)


@pytest.mark.parametrize("option", OPTIONS)
def test_middleware_may_give_each_option(app: Lavoro, option: str) -> None:
    given = app.signature("unknown here", kwargs={"number": 1}, immutable=True, options={option: OPTIONS[option]})
    (single,) = sent(app, given.clone())

    @app.middleware.around_send
    def give(call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
        if call.name == "unknown here":
            call.options[option] = OPTIONS[option]
        return proceed(call)

    plain = app.signature("unknown here", kwargs={"number": 1}, immutable=True)
    for path in ("signature", "next of a chain", "callback", "error callback"):
        found = [message for message in PATHS[path](app, plain.clone()) if message.name == "unknown here"]
        assert [told(message, option) for message in found] == [told(single, option)]


@pytest.mark.parametrize("path", PATHS)
def test_signals_are_sent_and_may_change_the_call(app: Lavoro, path: str) -> None:
    heard = []

    def hear(sender: str, headers: dict[str, Any], **_: Any) -> None:
        if sender == "unknown here":
            heard.append(headers["id"])
            headers["added"] = "by a receiver"

    signals.before_task_publish.connect(hear)
    try:
        given = app.signature("unknown here", immutable=True)
        found = [message for message in PATHS[path](app, given) if message.name == "unknown here"]
    finally:
        signals.before_task_publish.disconnect(hear)
    assert heard == [str(message.id) for message in found]
    assert [loads(message.options or "{}")["headers"] for message in found] == [{"added": "by a receiver"}]
