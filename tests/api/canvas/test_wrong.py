"""Wrong canvases: each is refused in words, or its error names the task, and nothing of a refused one is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro, Signature, chain, chord, group, signature, testing, uuid
from lavoro.exceptions import ChordError, ImproperlyConfigured
from lavoro.result import AsyncResult
from tests.api import tasks
from tests.api.tasks import add, echo, forgotten, identity
from tests.conftest import Eventually

pytestmark = pytest.mark.usefixtures("worker")

UNKNOWN = "shop.unheard_of"


def unknown(**options: Any) -> Any:
    return Signature(UNKNOWN, app=tasks.app, **options)


def reason_of(id: str) -> str | None:
    with tasks.app.database.connect("looking") as connection:
        row = connection.execute("select reason from lavoro.tasks where id::text = %s", (id,)).fetchone()
    return row[0] if row else None


@pytest.mark.parametrize(
    "canvas",
    [
        lambda id: chord([add.s(1, 1), unknown().set(task_id=id)], identity.s()),
        lambda id: chord([add.s(1, 1)], unknown().set(task_id=id)),
        lambda id: chain(add.s(1, 1), unknown().set(task_id=id), identity.s()),
        lambda id: group(add.s(1, 1), unknown().set(task_id=id)),
    ],
)
def test_a_task_that_no_worker_knows_says_so_and_is_taken_back(
    canvas: Any, worker: Path, eventually: Eventually
) -> None:
    """Another release may know it: so it waits, with its reason, until it is known, or revoked."""
    result = canvas(id := uuid()).apply_async()
    words = f"knows no task '{UNKNOWN}'"  # until then the reason may be that it waits for others
    eventually(lambda: words in str(reason_of(id)), timeout=30, why="a worker has met it")
    assert f"received unregistered task {UNKNOWN}[{id}]; requeued: another worker may know it" in worker.read_text()
    tasks.app.revoke(id)
    last = result[1] if hasattr(result, "results") else result
    error = last.get(timeout=30, propagate=False, **({} if last.parent is None else {"follow_parents": False}))
    assert type(error).__name__ in ("TaskRevokedError", "ChordError")


def test_an_unknown_task_is_named_where_it_is_needed_at_once() -> None:
    for call in (unknown().apply, chord([unknown()], identity.s()).apply, lambda: unknown()()):
        with pytest.raises(Exception, match=UNKNOWN):
            call()


def part(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"task": f"celery.{kind}", "subtask_type": kind, "kwargs": kwargs}


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"args": [1]}, "not a signature, because the key 'task' is missing or no name: {'args'"),
        ({"task": 5}, "not a signature, because the key 'task' is missing or no name: {'task': 5}"),
        ({"task": "a.task", "args": 5}, "the signature of a.task: args must be a list, not 5"),
        ({"task": "a.task", "args": "text"}, "the signature of a.task: args must be a list, not 'text'"),
        ({"task": "a.task", "kwargs": [1]}, r"the signature of a.task: kwargs must be a dict, not \[1\]"),
        ({"task": "a.task", "options": None}, "the signature of a.task: options must be a dict, not None"),
        ({"task": "a.task", "subtask_type": "wheel"}, "has an unknown subtask_type 'wheel'"),
        (part("chain"), "the signature of celery.chain: kwargs must have 'tasks', not None"),
        (part("group", tasks=5), "the signature of celery.group: kwargs must have 'tasks', not 5"),
        (part("group", tasks=[{"task": "a.task"}, {}]), "not a signature, because the key 'task' is missing"),
        (part("chain", tasks=[part("group", tasks="x")]), "celery.group: kwargs must have 'tasks', not 'x'"),
        (part("chord", body={"task": "a.task"}), "the signature of celery.chord: kwargs must have 'header', not None"),
        (part("chord", header=[{"task": "a.task"}]), "a chord needs a body"),
        (part("chord", header=[{"args": []}], body={"task": "a.task"}), "the key 'task' is missing"),
        (part("chunks", it=[1], n=1), "the signature of celery.chunks: kwargs must have 'task', not None"),
        (
            part("chunks", task={"task": "a.task"}, it=[1]),
            "celery.chunks: kwargs must have 'n', the calls of a message",
        ),
        (part("chunks", task={"task": "a.task"}, it=[1], n="2"), "calls of a message, not '2'"),
        (part("chunks", task={"task": "a.task"}, it=[1], n=0), "calls of a message, not 0"),
        (part("xmap", task={"task": "a.task"}), "the signature of celery.xmap: kwargs must have 'it', not None"),
    ],
)
def test_a_signature_of_json_that_is_wrong_says_what(form: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        signature(json.loads(json.dumps(form)), app=tasks.app).apply_async()


def test_a_signature_of_json_with_other_keys_says_which() -> None:
    form = {**json.loads(json.dumps(add.s(1, 2))), "added_by": "a program"}
    with pytest.raises(ValueError, match="the signature of tests.api.tasks.add has unknown keys: added_by"):
        signature(form, app=tasks.app)


@pytest.mark.parametrize(
    "canvas",
    [
        lambda first: chain(first, echo.s(object()), echo.s()),
        lambda first: group(first, echo.s(object()), echo.s()),
        lambda first: chord([first, echo.s(object()), echo.s()], identity.s()),
        lambda first: chord([first], echo.s(object())),
        lambda first: chain(first, chord([echo.s(), echo.s(object())], identity.s()), echo.s()),
        lambda first: group(chain(first, echo.s()), chain(echo.s(), echo.s(object()))),
        lambda first: chain(first, echo.s().set(link=echo.s(object()))),
        lambda first: chain(first, echo.s()).set(headers={"x": object()}),
    ],
)
def test_nothing_is_sent_of_a_canvas_that_cannot_be_encoded(canvas: Any) -> None:
    first = echo.s("first").set(task_id=(id := uuid()))
    with pytest.raises(TypeError, match="not JSON serializable"):
        canvas(first).apply_async()
    assert AsyncResult(id, app=tasks.app).stage is None


def test_members_that_ignore_their_results_give_them_to_the_body() -> None:
    assert chord([forgotten.s(), add.s(1, 1).set(ignore_result=True)], identity.s())().get(timeout=30) == [1, 2]


def test_groups_of_nothing() -> None:
    assert group([]).apply_async().get(timeout=30) == []
    assert chord(group([]), identity.s()).apply_async().get(timeout=30) == []
    assert chain(add.s(1, 1), group([])).apply_async().get(timeout=30) == 2
    assert chain(group([]), identity.si(3)).apply_async().get(timeout=30) == 3
    assert group(group([]), group([])).apply_async().get(timeout=30) == []


def test_replace_outside_of_a_task() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"replace\(\) needs a running task"):
        add.replace(add.s(1, 2))
    with pytest.raises(ValueError, match="Current task is not member of any chord"):
        add.add_to_chord(add.s(1, 2))


def test_a_chain_of_ten_thousand_steps_is_one_message_that_grows_with_their_number() -> None:
    sizes = []
    for length in (1000, 10_000):
        last = chain(identity.s(1).set(countdown=3600), *(identity.s() for _ in range(length - 1))).apply_async()
        first = last
        while first.parent is not None:
            first = first.parent
        with tasks.app.database.connect("looking") as connection:
            query = "select length(options::text), (select count(*) from lavoro.held) from lavoro.waiting where id = %s"
            [(size, _)] = connection.execute(query, (first.id,)).fetchall()
        sizes.append(size)
        first.revoke()
        assert last.get(timeout=30, propagate=False, follow_parents=False) is not None
    assert 9 < sizes[1] / sizes[0] < 11


def test_a_body_whose_results_are_too_large_fails_in_words(app: Lavoro) -> None:
    app.conf.lavoro_max_gathered = 1000

    @app.task
    def text(size: int) -> str:
        return "x" * size

    @app.task
    def count(texts: list[str]) -> int:
        return len(texts)

    with testing.worker(app):
        assert chord([text.s(400), text.s(400)], count.s()).apply_async().get(timeout=30) == 2
        large = chord([text.s(600), text.s(600)], count.s()).apply_async()
        sentence = "the 2 results that this task gathers have 1204 bytes, and lavoro_max_gathered is 1000: raise it"
        with pytest.raises(ChordError, match=sentence):
            large.get(timeout=30)
