"""The plain members of groups are built as all other calls are."""

from __future__ import annotations

from typing import Any

import pytest

from lavoro import Lavoro, Task, chord, group, signals
from lavoro.calling.outbox import composed
from lavoro.protocol.message import Message
from lavoro.serialization import loads


@pytest.fixture
def app() -> Lavoro:
    return Lavoro("members", broker="postgresql://127.0.0.1:1/nowhere", set_as_current=False)


def sent(app: Lavoro, canvas: Any, *args: Any, **options: Any) -> list[Message]:
    with composed(app) as outbox:
        canvas.apply_async(*args, **options)
    return outbox.messages


def told(messages: list[Message]) -> list[tuple[Any, ...]]:
    """What is the same each time: without ids that are made anew."""
    return [(*message[1:11], loads(message.options or "{}"), message[12]) for message in messages]


@pytest.mark.parametrize("options", [{}, {"queue": "slow", "priority": 3}, {"countdown": 5, "headers": {"a": 1}}])
def test_the_short_way_gives_the_same_messages(app: Lavoro, options: dict[str, Any]) -> None:
    add = app.task(name="add", ignore_result=True)(lambda x, y=0: x + y)
    named = app.task(name="named", queue="own")(lambda *args, **kwargs: None)
    members = [add.s(1), named.s(key="ü"), add.si(2), named.s().set(task_id="mine"), add.s(3).set(queue="other")]
    for canvas in (group(members), chord(members, named.s().set(task_id="body"))):
        canvas.set(task_id="0190b5c9-0000-7000-8000-000000000000")
        short = sent(app, canvas, (9,), **options)
        signals.before_task_publish.connect(_look)
        long = sent(app, canvas, (9,), **options)
        signals.before_task_publish.disconnect(_look)
        for one, other in zip(told(short), told(long), strict=True):
            assert one[:10] + one[11:] == other[:10] + other[11:]
            assert {**one[10], "eta": 0, "chord": 0} == {**other[10], "eta": 0, "chord": 0}
        assert [message.place and message.place[2:] for message in short] == [
            message.place and message.place[2:] for message in long
        ]


def _look(**_: Any) -> None:
    pass


def test_a_task_that_sends_itself_is_asked(app: Lavoro) -> None:
    heard: list[Any] = []

    class Own(Task[..., Any]):
        def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
            heard.append((args, options["group_index"]))
            return super().apply_async(args, kwargs, **options)

    own = app.task(name="own", base=Own)(lambda *args: None)
    assert len(sent(app, group(own.s(1), own.s(2)))) == 2
    assert heard == [((1,), 0), ((2,), 1)]


def test_wrong_arguments_of_a_member_are_an_error(app: Lavoro) -> None:
    add = app.task(name="add")(lambda x: x)
    with pytest.raises(TypeError, match="too many positional arguments"):
        sent(app, group(add.s(1), add.s(1, 2)))
    with pytest.raises(TypeError, match="the argument 'x' cannot be sent"):
        sent(app, group(add.s(1), add.s(object())))
