"""The options of calls that canvases use."""

from __future__ import annotations

from typing import Any

import pytest

from lavoro import Lavoro, signature
from lavoro.calling.message_builder import message_builder
from lavoro.calling.places import barriers_of
from lavoro.protocol.ids import task_uuid, uuid7
from lavoro.protocol.place import Place


def built(**options: Any) -> Any:
    app = Lavoro("canvas", set_as_current=False)
    message = message_builder(app.conf, None, "a.task", {"queue": "q", **options}).build((), {})
    return message.options, message.place, message.id


@pytest.mark.parametrize("option", ["link", "link_error", "chain"])
def test_signatures_travel_as_lists(option: str) -> None:
    one = signature("a.callback")
    text = f'{{"{option}":[{{"task":"a.callback","args":[],"kwargs":{{}},"options":{{}},"subtask_type":null,'
    for given in (one, [one], dict(one), (dict(one),)):
        options, place, _ = built(**{option: given})
        assert sorted(options) == sorted(text + '"immutable":false}]}')
        assert place is None
    assert built(**{option: []})[0] is None


@pytest.mark.parametrize("option", ["link", "link_error", "chain", "chord"])
@pytest.mark.parametrize("wrong", [1, "a.task", [1], {"args": ()}, [{"task": 5}]])
def test_what_is_no_signature_is_refused(option: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be a signature or a list of them"):
        built(**{option: wrong})


def test_a_member_of_a_chord_counts_for_the_barrier_of_its_group() -> None:
    barrier, body = str(uuid7()), dict(signature("a.body"))
    _, place, _ = built(chord=body, group_id=barrier, group_index=3)
    assert place == Place(f'{{"{barrier}":3}}')


def test_a_chain_counts_where_its_last_step_does() -> None:
    barrier, body = str(uuid7()), dict(signature("a.body"))
    last = signature("a.last", options={"chord": body, "group_id": barrier, "group_index": 1})
    middle = signature("a.middle")
    assert barriers_of({"chain": [last, middle]}) == f'{{"{barrier}":1}}'
    assert barriers_of({"chain": [middle, middle]}) is None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "^the option chord needs group_id, the id of the header that the task joins: see add_to_chord$"),
        ({"group_id": "g", "group_index": "x"}, "^group_index must be a whole number"),
        ({"group_id": "g", "group_index": -1}, "^group_index must be a whole number"),
    ],
)
def test_a_member_without_a_header_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        built(chord=dict(signature("a.body")), **options)


def test_blockers_make_a_barrier_of_the_task_itself() -> None:
    blocker, own = uuid7(), "my own id"
    _, place, id = built(blockers=[str(blocker), "text"], failure_policy="wait")
    assert place == Place(None, id, 2, (blocker, task_uuid("text")), "wait", ((), ()))
    assert built(blockers=[blocker], task_id=own)[1].held_for == task_uuid(own)
    with pytest.raises(ValueError, match="failure_policy must be 'fail', 'wait' or 'run', not 'often'"):
        built(blockers=[blocker], failure_policy="often")


def test_a_body_waits_for_the_barrier_of_its_header() -> None:
    barrier = uuid7()
    options, place, _ = built(awaits={"barrier": str(barrier), "expects": 5}, gathers=str(barrier))
    assert (options, place) == (f'{{"gathers":"{barrier}"}}', Place(None, barrier, 5))
    with pytest.raises(ValueError, match="give blockers to these"):
        built(awaits={"barrier": str(barrier), "expects": 5}, blockers=["x"])


def test_results_as_blockers_bring_the_steps_before_them() -> None:
    app = Lavoro("canvas", set_as_current=False)
    first, second, third = (app.AsyncResult(str(uuid7())) for _ in range(3))
    second.parent = first
    third.parent = app.GroupResult("header", [second], parent=first)
    _, place, _ = built(blockers=[third, app.GroupResult("group", [first, second])])
    ids = [task_uuid(result.id) for result in (first, second, third)]
    assert place.blockers == (ids[2], ids[0], ids[1])
    assert place.ancestors == ((ids[0],), (), (ids[0],))
