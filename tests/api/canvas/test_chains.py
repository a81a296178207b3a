"""Links and chains through a real worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lavoro import chain, signature, uuid
from lavoro.result import AsyncResult
from tests.api import tasks
from tests.api.tasks import LocalError, add, boom, echo, identity, lineage, note, note_error, note_id

pytestmark = pytest.mark.usefixtures("worker")


def noted(key: str) -> Any:
    """What a task notes under this id."""
    return AsyncResult(key, app=tasks.app).get(timeout=30)


def test_each_step_gets_the_result_of_the_one_before() -> None:
    assert chain(add.s(2, 3), add.s(4), add.s(5)).delay().get(timeout=30) == 14
    assert (add.s(2, 3) | echo.si("no", more=1)).apply_async().get(timeout=30) == [["no"], {"more": 1}]


def test_the_results_of_a_chain_lead_back_to_its_first_step() -> None:
    last = (add.s(1, 1) | add.s(10) | add.s(100)).delay()
    assert last.get(timeout=30) == 112
    assert [last.parent.get(), last.parent.parent.get()] == [12, 2]
    assert last.parent.parent.parent is None
    assert last.parent.parent.get_leaf() == 112


def test_the_steps_of_a_chain_have_root_and_parent() -> None:
    last = (lineage.s() | lineage.s() | lineage.s()).delay()
    third = last.get(timeout=30)
    second, first = last.parent.get(), last.parent.parent.get()
    assert [third["id"], second["id"], first["id"]] == last.as_list()
    assert {first["root_id"], second["root_id"], third["root_id"]} == {first["id"]}
    assert [first["parent_id"], second["parent_id"], third["parent_id"]] == [None, first["id"], second["id"]]
    assert [first["chain"], second["chain"]] == [[third["id"], second["id"]], [third["id"]]]


def test_the_options_of_steps_are_those_of_their_calls() -> None:
    last = (add.s(1, 1) | lineage.s().set(task_id=(chosen := uuid()), priority=3)).delay()
    assert last.id == chosen
    assert last.get(timeout=30)["id"] == chosen
    assert chain(add.s(1, 1), add.s(1)).apply_async(task_id=(given := uuid())).id == given


def test_arguments_of_the_call_come_first_in_the_first_step() -> None:
    assert (echo.s("own") | identity.s()).apply_async(("given",), {"more": 1}).get(timeout=30) == [
        ["given", "own"], {"more": 1},
    ]  # fmt: skip


def test_a_chain_of_one_and_of_none() -> None:
    assert chain([add.s(1, 1)]).delay().get(timeout=30) == 2
    assert chain().apply_async() is None


def test_callbacks_get_the_result() -> None:
    keys = [uuid() for _ in range(3)]
    add.apply_async((1, 2), link=note.s(keys[0]))
    add.apply_async((1, 2), link=[note.s(keys[1]), note.si("own", keys[2])])
    assert [noted(key) for key in keys] == [3, 3, "own"]


def test_callbacks_of_a_chain_belong_to_its_last_step() -> None:
    key = uuid()
    (add.s(1, 1) | add.s(10)).apply_async(link=note.s(key))
    assert noted(key) == 12


def test_a_retried_task_keeps_its_callbacks_and_chain() -> None:
    key = uuid()
    last = (tasks.insist.s(2) | add.s(40)).apply_async(link=note.s(key))
    assert (last.get(timeout=30), noted(key)) == (42, 42)


def test_an_error_callback_is_called_in_the_worker_with_request_error_and_traceback() -> None:
    key = uuid()
    failed = boom.apply_async((1, 2), link_error=note_error.s(key=key))
    id, name, args, error, last_line = noted(key)
    assert (id, name, args) == (failed.id, "tests.api.tasks.boom", [1, 2])
    assert (error, last_line) == ("LocalError(2, 'boom')", "tests.api.tasks.LocalError: (2, 'boom')")


def test_an_error_callback_of_one_argument_is_a_task_with_the_id() -> None:
    keys = [uuid(), uuid()]
    unknown = signature("tests.api.tasks.note_id", args=(keys[1],))
    failed = boom.apply_async(link_error=[note_id.s(keys[0]), unknown])
    assert [noted(key) for key in keys] == [failed.id, failed.id]


def test_each_step_of_a_chain_has_the_error_callbacks_of_the_chain() -> None:
    key = uuid()
    last = (add.s(1, 1) | boom.s() | add.s(1)).on_error(note_id.s(key)).delay()
    assert noted(key) == last.parent.id


def test_an_error_callback_that_fails_is_logged(worker: Path) -> None:
    failed = boom.apply_async(link_error=[tasks.raising_errback.s()])
    with pytest.raises(LocalError):
        failed.get(timeout=30)
    assert "Errback 'tests.api.tasks.raising_errback' raised an exception" in worker.read_text()


def test_a_result_that_the_next_step_cannot_get_fails_its_task() -> None:
    last = (tasks.unspeakable.s() | identity.s()).delay()
    with pytest.raises(TypeError, match="tests.api.tasks.identity: the argument 'value' cannot be sent"):
        last.parent.get(timeout=30)


def test_nothing_is_sent_of_a_chain_with_an_argument_that_cannot_be_encoded() -> None:
    first = echo.s("sent").set(task_id=(id := uuid()))
    with pytest.raises(TypeError, match="not JSON serializable"):
        (first | echo.s(object())).delay()
    assert AsyncResult(id, app=tasks.app).stage is None


def test_a_long_chain() -> None:
    last = chain(add.s(0, 1), *(add.s(1) for _ in range(199))).delay()
    assert last.get(timeout=60) == 200
