"""What follows a run."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest

from lavoro import Lavoro, chain, chord, group, signals, signature
from lavoro.calling.outbox import composed
from lavoro.canvas import continuation
from lavoro.canvas.continuation import after, never
from lavoro.canvas.errbacks import called_by
from lavoro.exceptions import Ignore, Reject
from lavoro.execution.context import Context
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.ids import task_uuid, uuid7
from lavoro.protocol.message import Message, Packed
from lavoro.protocol.outcome import Finished
from lavoro.protocol.place import Follow
from lavoro.serialization import dumps, loads
from lavoro.states import FAILURE, IGNORED, RETRY, REVOKED
from tests.executor.run import error_of, finished, given_back, job_of


def first_message(app: Lavoro, canvas: Any) -> Message:
    """The message of the first step."""
    with composed(app) as outbox:
        canvas.apply_async()
    (message,) = outbox.messages
    return message


RUN = uuid7()
"""The id of each run."""


def ended(app: Lavoro, task: Any, *args: Any, **options: Any) -> Finished:
    settings = RunSettings("node@test", follow=partial(continuation.follow, app))
    return finished(task, *args, node=settings, id=RUN, options=dumps(options))


def sent(outcome: Finished) -> list[tuple[str, Any, dict[str, Any]]]:
    """Name, arguments and options of the messages that follow."""
    assert outcome.follow is not None
    return [(each.name, loads(each.args or "[]"), loads(each.options or "{}")) for each in outcome.follow.messages]


def test_the_rules() -> None:
    callback = dict(signature("a.callback"))
    steps = [dict(signature(f"step.{number}")) for number in (3, 2, 1)]
    options = {"link": [callback], "link_error": [dict(signature("an.errback"))], "chain": steps}
    assert [(call.signature["task"], call.options) for call in after(options)] == [
        ("a.callback", {}), ("step.1", {"chain": steps[:2]}),
    ]  # fmt: skip
    assert after({"chain": steps[:1]})[0].options == {}


@pytest.mark.parametrize("state", [RETRY, REVOKED, IGNORED])
def test_nothing_follows_other_outcomes(app: Lavoro, state: str) -> None:
    options = {"link": [dict(signature("a.callback"))], "link_error": [dict(signature("an.errback"))]}
    follow = continuation.follow(app, Context(options=options), state, None)
    assert follow is not None
    assert follow.messages == ()


def test_each_result_of_a_body_has_its_error_callbacks(app: Lavoro) -> None:
    """The step before the body is Lavoro's own: its request would tell nobody anything."""
    own, common = signature("its.own"), signature("of.all")
    inner = chord([signature("a.header")], signature("a.body").set(link_error=[own]))
    body = group(signature("a.task", args=(1,)).set(link_error=[own, common]), signature("a.task"), inner)
    body.set(link_error=common)
    body.freeze("7")
    request = Context(task="celery.accumulate", id="1", root_id="5", options={"chain": [loads(dumps(body))]})
    results = [
        (failed.id, failed.task, failed.args, [each["task"] for each in errbacks])
        for failed, errbacks in called_by(request)
    ]
    assert results == [
        (body.tasks[0].id, "a.task", [1], ["its.own", "of.all"]),
        (body.tasks[1].id, "a.task", [], ["of.all"]),
        (body.tasks[2].body.id, "a.body", [], ["its.own", "of.all"]),
    ]
    request.task = "a.task"
    assert len(list(called_by(request))) == 1


def test_several_callbacks_are_a_group() -> None:
    calls = after({"link": [dict(signature("a.one")), dict(signature("a.two"))]})
    assert [call.options["group_index"] for call in calls] == [0, 1]
    assert len({call.options["group_id"] for call in calls}) == 1


def test_a_step_takes_the_rest_of_the_chain_along(app: Lavoro) -> None:
    add = app.task(name="add")(lambda x, y: x + y)
    message = first_message(app, add.s(1, 2) | add.s(3) | add.s(4))
    ids = [step["options"]["task_id"] for step in loads(message.options or "")["chain"]]
    outcome = ended(app, add, 1, 2, **loads(message.options or ""))
    own = str(outcome.job.id)
    ((name, args, options),) = sent(outcome)
    assert (name, args, options["parent_id"], options["root_id"]) == ("add", [3, 3], own, own)
    assert [step["options"]["task_id"] for step in options["chain"]] == ids[:1]
    assert outcome.follow is not None
    assert (str(outcome.follow.messages[0].id), outcome.children) == (ids[1], f'["{ids[1]}"]')


def test_a_long_chain_is_composed_and_followed_in_linear_size(app: Lavoro) -> None:
    add = app.task(name="add")(lambda x, y: x + y)
    sizes = []
    for length in (1000, 10000):
        message = first_message(app, signature("add", args=(1, 2), app=app) | _chain_of(add, length))
        sizes.append(len(message.options or ""))
        ((_, args, options),) = sent(ended(app, add, 1, 2, **loads(message.options or "")))
        assert (args, len(options["chain"])) == ([3, 1], length - 1)
    assert sizes[1] < 10.1 * sizes[0]


def _chain_of(task: Any, length: int) -> Any:
    return chain([task.s(1) for _ in range(length)])


def test_the_rest_of_a_failed_chain_is_named(app: Lavoro) -> None:
    @app.task(name="fails")
    def fails() -> None:
        raise ValueError

    message = first_message(app, fails.s() | fails.s().set(task_id="mine"))
    outcome = ended(app, fails, **loads(message.options or ""))
    assert outcome.follow is not None
    assert (outcome.follow.messages, outcome.follow.never) == ((), ((task_uuid("mine"), "fails"),))


def test_tasks_inside_of_the_rest_are_named_too() -> None:
    ids = [uuid7() for _ in range(5)]

    def task(number: int) -> dict[str, Any]:
        return dict(signature(f"t{number}", options={"task_id": str(ids[number])}))

    group = {**signature("celery.group"), "kwargs": {"tasks": [task(1), task(2)]}, "subtask_type": "group"}
    chord = {
        **signature("celery.chord"), "kwargs": {"header": group, "body": task(3), "kwargs": {}},
        "subtask_type": "chord",
    }  # fmt: skip
    assert never({"chain": [task(4), chord, task(0)]}) == tuple((id, f"t{number}") for number, id in enumerate(ids))


@pytest.mark.parametrize("error", [Ignore(), Reject("no")])
def test_a_task_that_is_ignored_or_rejected_calls_nothing(app: Lavoro, error: Exception) -> None:
    @app.task(name="raises")
    def raises() -> None:
        raise error

    outcome = ended(app, raises, link=[signature("a.b")], link_error=[signature("a.c")], chain=[signature("a.d")])
    assert outcome.follow is None or outcome.follow.messages == ()


def test_a_retry_keeps_what_follows(app: Lavoro) -> None:
    @app.task(name="again", bind=True)
    def again(self: Any) -> None:
        raise self.retry(countdown=1, priority=3)

    options = dumps({"link": [signature("a.b")], "chain": [signature("a.d")], "link_error": [signature("a.c")]})
    back = given_back(again, options=options)
    kept = loads(back.options or options)
    assert {name: kept[name][0]["task"] for name in ("link", "chain", "link_error")} == {
        "link": "a.b", "chain": "a.d", "link_error": "a.c",
    }  # fmt: skip


def test_error_callbacks_of_one_argument_are_sent_and_others_called(app: Lavoro) -> None:
    heard: list[Any] = []
    app.task(name="new")(lambda request, exc, traceback: heard.append((request.id, str(exc), traceback[-13:])))
    app.task(name="old")(lambda task_id: None)
    app.task(name="bound", bind=True)(lambda self, one, two=None: None)
    app.task(name="partial")(lambda first, task_id: None)

    @app.task(name="fails")
    def fails() -> None:
        raise ValueError("wrong")

    errbacks = [
        signature("new"), signature("old"), signature("bound"), signature("elsewhere"), signature("partial", args=(1,)),
        signature("old", args=(9,), immutable=True),
    ]  # fmt: skip
    outcome = ended(app, fails, link_error=errbacks)
    id = str(outcome.job.id)
    assert heard == [(id, "wrong", "Error: wrong\n")]
    assert [(name, args) for name, args, _ in sent(outcome)] == [
        ("old", [id]), ("bound", [id]), ("elsewhere", [id]), ("partial", [id, 1]), ("old", [9]),
    ]  # fmt: skip
    assert {options["parent_id"] for _, _, options in sent(outcome)} == {id}


def test_an_error_callback_that_raises_hinders_no_other(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    app.task(name="new")(lambda request, exc, traceback: 1 / 0)

    @app.task(name="fails")
    def fails() -> None:
        raise ValueError("wrong")

    with caplog.at_level(logging.ERROR):
        outcome = ended(app, fails, link_error=[signature("new"), signature("elsewhere")])
    assert [name for name, _, _ in sent(outcome)] == ["elsewhere"]
    assert "Errback 'new' raised an exception" in caplog.text
    assert str(error_of(outcome)) == "wrong"


def test_a_value_that_cannot_be_passed_on_fails_the_task(app: Lavoro) -> None:
    obj = app.task(name="obj", ignore_result=True)(lambda *args: object())
    errbacks: list[str] = []
    app.task(name="errback")(lambda request, exc, traceback: errbacks.append(str(exc)))
    outcome = ended(app, obj, chain=[signature("obj", options={"task_id": "next"})], link_error=[signature("errback")])
    assert outcome.state == FAILURE
    assert "obj: the argument number 1 cannot be sent" in str(error_of(outcome))
    assert outcome.follow is not None
    assert outcome.follow.never == ((task_uuid("next"), "obj"),)
    assert errbacks == [str(error_of(outcome))]


def test_callbacks_are_sent_before_the_task_tells_of_its_success(app: Lavoro) -> None:
    order: list[str] = []
    ok = app.task(name="ok")(lambda: 1)

    def hear_sent(sender: Any, **named: Any) -> None:
        order.append(f"sent {sender}")

    def hear_success(sender: Any, **named: Any) -> None:
        order.append("success")

    signals.after_task_publish.connect(hear_sent)
    signals.task_success.connect(hear_success)
    try:
        ended(app, ok, link=[signature("a.callback")], chain=[signature("a.step")])
    finally:
        signals.after_task_publish.disconnect(hear_sent)
        signals.task_success.disconnect(hear_success)
    assert order == ["sent a.callback", "sent a.step", "success"]


def test_the_priority_is_inherited_where_the_setting_says_so(app: Lavoro) -> None:
    ok = app.task(name="ok")(lambda: 1)
    app.conf.task_inherit_parent_priority = True
    settings = RunSettings("node@test", follow=partial(continuation.follow, app))
    outcome = finished(ok, node=settings, options=dumps({"link": [signature("a.b")]}), priority=7)
    assert outcome.follow is not None
    assert outcome.follow.messages[0].priority == 7


class TestPlainSteps:
    """A plain step is built in a shorter way, and is the same message."""

    @staticmethod
    def both(app: Lavoro, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Follow, Follow, int]:
        """What follows a run, by the short way and by the long one, and the number of steps that were plain."""
        plain = []
        short = continuation.step_message

        def counting(*args: Any) -> Message | None:
            message = short(*args)
            plain.extend([message] if message is not None else [])
            return message

        monkeypatch.setattr(continuation, "step_message", counting)
        task = app.tasks["step"]
        quick = ended(app, task, 1, **options)
        monkeypatch.setattr(continuation, "step_message", lambda *args: None)
        slow = ended(app, task, 1, **options)
        assert quick.follow is not None
        assert slow.follow is not None
        assert sorted(loads(quick.children or "[]")) == sorted(loads(slow.children or "[]"))
        return quick.follow, slow.follow, len(plain)

    @pytest.fixture(autouse=True)
    def tasks(self, app: Lavoro) -> None:
        @app.task(name="step")
        def step(x: int, y: int = 0) -> int:
            return x

        @app.task(name="routed", queue="far", priority=7, time_limit=9, ignore_result=True, expires=60)
        def routed(x: int) -> int:
            return x

        @app.task(name="pickled", serializer="pickle")
        def pickled(x: int) -> int:
            return x

    @pytest.mark.parametrize(
        ("step", "is_plain"),
        [
            (lambda: signature("step"), True),
            (lambda: signature("step", (2,)), True),
            (lambda: signature("step", (2,), {"y": 3}, immutable=True), True),
            (lambda: signature("routed"), True),
            (lambda: signature("unknown", (2,)), False),
            (lambda: signature("pickled"), False),
            (lambda: signature("step", priority=5), False),
            (lambda: signature("step", queue="other"), False),
            (lambda: signature("step", group_id="7", chord={"task": "b"}, group_index=0), False),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("behind", [0, 2])
    def test_both_ways_are_one(
        self, app: Lavoro, monkeypatch: pytest.MonkeyPatch, step: Any, is_plain: bool, behind: int
    ) -> None:
        steps = [dict(signature("step").set(task_id=str(uuid7()))) for _ in range(behind)]
        own = step()
        own.freeze()
        quick, slow, plain = self.both(app, monkeypatch, chain=[*steps, dict(own)], root_id="the root")
        assert plain == is_plain
        assert quick.heir == slow.heir == task_uuid(own.id)
        for one, other in zip(quick.messages, slow.messages, strict=True):
            assert loads(one.options or "{}") == loads(other.options or "{}")
            assert one._replace(options=None) == other._replace(options=None)

    def test_callbacks_come_before_it(self, app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
        link, step = (dict(signature("step").set(task_id=str(uuid7()))) for _ in range(2))
        quick, slow, plain = self.both(app, monkeypatch, chain=[step], link=[link])
        assert plain == 1
        assert [each.id for each in quick.messages] == [each.id for each in slow.messages]
        assert quick.messages[0].id == task_uuid(link["options"]["task_id"])

    def test_arguments_that_do_not_fit_fail_the_task(self, app: Lavoro) -> None:
        step = dict(signature("step", (2, 3)).set(task_id=str(uuid7())))
        outcome = ended(app, app.tasks["step"], 1, chain=[step])
        assert outcome.state == FAILURE
        assert str(error_of(outcome)) == "step(): too many positional arguments"

    @pytest.mark.parametrize("name", ["task_always_eager", "task_inherit_parent_priority"])
    def test_settings_that_change_calls_are_heeded(
        self, app: Lavoro, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        app.conf[name] = True
        step = dict(signature("step").set(task_id=str(uuid7())))
        assert self.both(app, monkeypatch, chain=[step])[2] == 0

    def test_receivers_see_it(self, app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []

        def receive(sender: Any, **about: Any) -> None:
            seen.append(sender)

        signals.before_task_publish.connect(receive)
        try:
            step = dict(signature("step").set(task_id=str(uuid7())))
            assert self.both(app, monkeypatch, chain=[step])[2] == 0
        finally:
            signals.before_task_publish.disconnect(receive)
        assert seen == ["step", "step"]

    @pytest.mark.parametrize("packed", [True, False], ids=["in one process", "in several"])
    def test_step_after_step(self, app: Lavoro, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
        steps = [loads(dumps(signature("step", (), {"y": number}).set(task_id=str(uuid7())))) for number in range(4)]
        options: str | None = dumps({"chain": steps, "root_id": "the root", "headers": {"chain": ["no"], "é": 1}})
        settings = RunSettings("node@test", follow=partial(continuation.follow, app))
        for behind in (3, 2, 1, 0):
            run = partial(finished, app.tasks["step"], 1, node=settings, id=RUN)
            with monkeypatch.context() as patch:
                patch.setattr(continuation, "step_message", lambda *args: None)
                slow = run(options=options and str(options)).follow
            quick = run(options=options).follow
            assert quick is not None
            assert slow is not None
            [message] = quick.messages
            options = message.options
            assert options is not None
            assert loads(options) == loads(slow.messages[0].options or "{}")
            assert loads(options).get("chain", []) == steps[:behind]
            assert type(options) is (Packed if behind else str)
            assert job_of(app.tasks["step"], options=options).read_options() == loads(options)
            options = options if packed else str(options)

    def test_a_chain_that_its_task_has_changed(self, app: Lavoro) -> None:
        @app.task(name="changing", bind=True)
        def changing(self: Any) -> None:
            del self.request.chain[0]

        steps = [loads(dumps(signature("step").set(task_id=str(uuid7())))) for _ in range(4)]
        options = f'{{"parent_id":"p","root_id":"r","chain":{dumps(steps)}}}'
        settings = RunSettings("node@test", follow=partial(continuation.follow, app))
        outcome = finished(app.tasks["changing"], node=settings, options=options)
        assert sent(outcome)[0][2]["chain"] == steps[1:3]

    def test_what_is_read_of_packed_options_is_a_copy(self, app: Lavoro) -> None:
        options = Packed('{"root_id":"r"}')
        options.options = {"root_id": "r"}
        job = job_of(app.tasks["step"], options=options)
        job.read_options()["root_id"] = "changed"
        assert job.read_options() == {"root_id": "r"}
