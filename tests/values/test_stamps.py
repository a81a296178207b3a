"""Stamps: headers of a canvas that each of its messages has."""

from __future__ import annotations

from typing import Any

from lavoro import Lavoro, chain, chord, group
from lavoro.calling.outbox import composed
from lavoro.canvas import StampingVisitor
from lavoro.execution.context import Context
from lavoro.execution.run_settings import RunSettings
from lavoro.protocol.message import Message
from lavoro.serialization import loads
from tests.executor.run import given_back, job_of
from tests.executor.simulation import Simulation


class ByName(StampingVisitor):
    """Stamps each task with its name, and callbacks with a word."""

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"name": sig.task}

    def on_callback(self, callback: Any, **header: Any) -> dict[str, Any]:
        return {"called": "back"}


def made() -> tuple[Lavoro, dict[str, tuple[Any, Any]], Any]:
    """An application, what its tasks have seen, and its tasks."""
    app = Lavoro("stamps", broker="postgresql://127.0.0.1:1/nowhere", set_as_current=False)
    seen: dict[str, tuple[Any, Any]] = {}

    def task(name: str) -> Any:
        @app.task(name=name, bind=True)
        def run(self: Any, *args: Any) -> None:
            seen[name] = self.request.stamped_headers, self.request.stamps

        return run

    return app, seen, task


def message_of(app: Lavoro, canvas: Any) -> Message:
    with composed(app) as outbox:
        canvas.apply_async()
    return outbox.messages[0]


def test_each_task_of_a_canvas_has_its_stamps() -> None:
    app, seen, task = made()
    canvas = chain(task("a").s(), group(task("b").s(), task("c").s()), task("d").s())
    canvas.stamp(visitor=ByName())
    Simulation(app).run(canvas)
    assert {name: (stamps["name"], headers) for name, (headers, stamps) in seen.items()} == {
        name: (name, ["name"]) for name in "abcd"
    }


def test_stamps_by_hand_and_those_of_callbacks() -> None:
    app, seen, task = made()
    first = task("first").s()
    first.link(task("second").s())
    first.stamp(visitor=ByName(), tenant=[7])
    Simulation(app).run(first)
    assert seen["first"][1] == {"tenant": [7], "name": "first"}
    assert seen["second"][1] == {"tenant": [7], "called": "back", "name": "second"}


def test_a_chord_is_stamped_too() -> None:
    app, seen, task = made()
    canvas = chord([task("a").s()], task("body").s())
    canvas.stamp(visitor=ByName(), tenant="x")
    Simulation(app).run(canvas)
    assert [stamps for _, stamps in seen.values()] == [{"tenant": "x", "name": "a"}, {"tenant": "x", "name": "body"}]


def test_stamps_are_no_properties_and_stay_in_a_retry() -> None:
    app, _, task = made()
    options = loads(message_of(app, task("a").s().set(stamped_headers=["tenant"], tenant=1)).options or "{}")
    assert options == {"stamped_headers": ["tenant"], "stamps": {"tenant": 1}}

    @app.task(name="again", bind=True)
    def again(self: Any) -> None:
        raise self.retry()

    back = given_back(again, options='{"stamped_headers":["tenant"],"stamps":{"tenant":1}}')
    assert loads(back.options or "null")["stamps"] == {"tenant": 1}


def test_a_request_gives_its_stamps_to_calls_like_it() -> None:
    _, _, task = made()
    options = {"stamped_headers": ["tenant"], "stamps": {"tenant": 1}}
    request = Context.of(job_of(task("a")), (), {}, options, settings=RunSettings("n"), outer=None)
    assert request.as_execution_options()["tenant"] == 1
