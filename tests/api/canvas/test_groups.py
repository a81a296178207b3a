"""Groups and chords through a real worker."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from lavoro import chain, chord, chunks, group, signature, uuid
from lavoro.exceptions import ChordError, InvalidCanvas
from lavoro.result import AsyncResult, GroupResult, ResultSet
from lavoro.serialization import dumps, loads
from tests.api import tasks
from tests.api.tasks import LocalError, add, boom, echo, forgotten, identity, lineage, note, note_error, note_id

pytestmark = pytest.mark.usefixtures("worker")


def noted(key: str) -> Any:
    """What a task notes under this id."""
    return AsyncResult(key, app=tasks.app).get(timeout=30)


def result_of(canvas: Any) -> Any:
    return canvas.apply_async().get(timeout=30)


def error_of(id: str) -> BaseException:
    result = AsyncResult(id, app=tasks.app)
    found = result.get(timeout=30, propagate=False)
    assert isinstance(found, BaseException), found
    return found


def test_a_group() -> None:
    assert group(add.s(i, i) for i in range(20))().get(timeout=30) == [2 * i for i in range(20)]
    assert group(add.s(1), add.s(2)).delay(10).get(timeout=30) == [11, 12]


def test_a_group_of_one_chain_that_ends_in_a_group_has_its_result() -> None:
    canvas = group(chain(add.s(1, 2), group(add.s(1), add.s(2))))
    assert result_of(canvas) == [4, 5]
    assert result_of(group(canvas, add.s(1, 1))) == [[4, 5], 2]


def test_groups_inside_of_groups_are_one_level() -> None:
    result = group(add.s(1, 1), group(add.s(2, 2), group(add.s(3, 3))), chain(add.s(4, 4), add.s(1)))()
    assert result.get(timeout=30) == [2, 4, 6, 9]


def test_a_group_of_nothing() -> None:
    assert result_of(group([])) == []
    assert result_of(chord([], identity.s())) == []


def test_members_know_their_group() -> None:
    result = group(lineage.s(), lineage.s()).apply_async(task_id=(id := uuid()))
    found = result.get(timeout=30)
    assert result.id == id
    assert [(each["group"], each["group_index"]) for each in found] == [(id, 0), (id, 1)]


def test_a_chord() -> None:
    assert result_of(chord([add.s(i, i) for i in range(10)], identity.s())) == [2 * i for i in range(10)]
    assert chord(add.s(i, i) for i in range(3))(identity.s()).get(timeout=30) == [0, 2, 4]
    assert result_of(group(add.s(1, 1), add.s(2, 2)) | echo.s(key=5)) == [[[2, 4]], {"key": 5}]
    assert result_of(chord([add.s(1, 1)], echo.si("own"))) == [["own"], {}]


@pytest.mark.parametrize(
    ("canvas", "value"),
    [
        (chord([chain(add.s(1, 1), add.s(10)), add.s(5, 5)], identity.s()), [12, 10]),
        (chord([chord([add.s(1, 1), add.s(2, 2)], identity.s()), add.s(5, 5)], identity.s()), [[2, 4], 10]),
        (chord([group(add.s(1, 1), add.s(2, 2)), add.s(5, 5)], identity.s()), [2, 4, 10]),
        (chord([chain(add.s(1, 1), group(add.s(10), add.s(20))), add.s(5, 5)], identity.s()), [[12, 22], 10]),
        (chord([add.s(1, 1)], group(identity.s(), echo.si(1))), [[2], [[1], {}]]),
        (chord([add.s(1, 1)], chord([identity.s(), identity.s()], identity.s())), [[2], [2]]),
        (chord([add.s(1, 1)], chain(identity.s(), identity.s(), echo.s("end"))), [[[2], "end"], {}]),
        (chain(add.s(1, 1), group(add.s(1), add.s(2)), group(identity.s(), identity.s())), [[3, 4], [3, 4]]),
        (chain(add.s(1, 1), group(add.s(1), add.s(2)), identity.s(), echo.s(9)), [[[3, 4], 9], {}]),
        (chord([add.s(1, 1)], identity.s()) | chain(identity.s(), group(identity.s(), identity.s())), [[2], [2]]),
        (chain(chord([add.s(1, 1)], identity.s()), chord([identity.s(), identity.s()], identity.s())), [[2], [2]]),
        (chord([chord([chord([add.s(1, 2)], identity.s())], identity.s())], identity.s()), [[[3]]]),
        (chord([chain(add.s(1, 1), chord([add.s(1), add.s(2)], identity.s()), echo.s(7))], identity.s()),
         [[[[3, 4], 7], {}]]),
        (identity.map([1, 2, 3]), [1, 2, 3]),
        (add.starmap([(1, 2), (3, 4)]), [3, 7]),
        (add.chunks([(i, i) for i in range(5)], 2), [[0, 2], [4, 6], [8]]),
        (chain(identity.si([1, 2]), chord([echo.s(1)], identity.s())), [[[[1, 2], 1], {}]]),
    ],
)  # fmt: skip
def test_shapes(canvas: Any, value: Any) -> None:
    assert result_of(canvas) == value


def test_a_canvas_that_came_as_json() -> None:
    canvas = chain(add.s(1, 1), group(add.s(1), add.s(2)), identity.s()) | echo.s(1)
    assert result_of(signature(loads(dumps(canvas)), app=tasks.app)) == [[[3, 4], 1], {}]


def test_members_of_a_header_keep_a_result_that_they_ignore() -> None:
    assert result_of(chord([forgotten.s(), add.s(1, 1)], identity.s())) == [1, 2]


def test_a_body_knows_its_header() -> None:
    result = chord([lineage.s(), lineage.s()], lineage.s()).apply_async()
    body = result.get(timeout=30)
    members = body["args"][0]
    assert [(each["group"], each["group_index"]) for each in members] == [(result.parent.id, 0), (result.parent.id, 1)]
    assert result.parent.get() == members
    assert body["id"] == result.id


def test_a_member_that_fails_fails_the_body_at_once() -> None:
    slow = tasks.report.s(1.0)
    result = chord([slow, boom.s(1), add.s(1, 1)], identity.s()).apply_async()
    error = error_of(result.id)
    culprit = result.parent[1].id
    assert (type(error), str(error)) == (ChordError, f"Dependency {culprit} raised LocalError(1, 'boom')")
    with pytest.raises(LocalError):
        result.get(timeout=30)  # the error of its parents comes first
    with pytest.raises(LocalError):
        chord([add.s(1, 1), boom.s()], identity.s()).apply_async().get(timeout=30)  # also when it fails meanwhile
    assert result.parent[2].get(timeout=30) == 2


def test_the_steps_after_a_body_fail_with_it() -> None:
    result = (chord([boom.s()], identity.s()) | add.s(1) | add.s(2)).apply_async()
    assert {type(error_of(id)) for id in (result.id, result.parent.id)} == {ChordError}


def test_the_tasks_of_a_body_that_is_a_group_fail_with_the_error_of_the_header() -> None:
    key = uuid()
    body = group(identity.s().on_error(note_error.s(key=key)), add.si(1, 1))
    result = chord([add.s(1, 1), boom.s(1)], body).apply_async()
    errors = [error_of(member.id) for member in result]
    assert [(type(error), error.args) for error in errors] == [(LocalError, (1, "boom"))] * 2
    with pytest.raises(LocalError):
        result.get(timeout=30)
    assert noted(key)[3] == "LocalError(1, 'boom')"


def test_error_callbacks_of_a_body_that_is_a_group_are_called_for_each_of_its_tasks() -> None:
    key = uuid()
    result = chord([boom.s()], group(identity.s(), add.s(1))).apply_async(link_error=tasks.note_failed.s(key))
    told = [noted(f"{key}:{member.id}") for member in result]
    error = "LocalError(0, 'boom')"
    assert told == [["tests.api.tasks.identity", error], ["tests.api.tasks.add", error]]


def test_a_call_adds_error_callbacks_to_those_of_a_group_that_is_a_body() -> None:
    keys = [uuid(), uuid()]
    body = group(boom.s(), identity.s()).set(link_error=tasks.note_failed.s(keys[0]))
    canvas = chord([add.s(1, 1)], body)
    before = dumps(canvas)
    result = canvas.apply_async(link_error=tasks.note_failed.s(keys[1]))
    assert [noted(f"{key}:{result[0].id}")[0] for key in keys] == ["tests.api.tasks.boom"] * 2
    assert dumps(canvas) == before


def test_the_task_of_a_group_of_one_that_is_a_body_has_the_error_callbacks_of_the_group() -> None:
    keys = [uuid(), uuid()]
    inner = chord([add.si(1, 1)], group(boom.s(), identity.s()))
    body = group(inner).set(link_error=tasks.note_failed.s(keys[0]))
    result = chord([add.s(1, 1)], body).apply_async(link_error=tasks.note_failed.s(keys[1]))
    assert [noted(f"{key}:{result[0].id}")[0] for key in keys] == ["tests.api.tasks.boom"] * 2


def test_an_error_callback_is_called_once_for_a_chord_in_a_chord() -> None:
    key = uuid()
    outer = chord([add.s(1, 1), chord([boom.s()], identity.s())], identity.s())
    outer.link_error(tasks.note_failed.s(key))
    result = outer.apply_async()
    name, error = noted(f"{key}:{result.id}")
    assert (name, error[:11]) == ("tests.api.tasks.identity", "ChordError(")
    inner = result.parent[1]
    assert isinstance(error_of(inner.id), ChordError)
    assert not AsyncResult(f"{key}:{inner.id}", app=tasks.app).exists()


def test_a_body_that_is_a_chord_fails_with_the_error_of_a_chord() -> None:
    result = chord([boom.s(1)], chord([identity.s()], identity.s())).apply_async()
    assert isinstance(error_of(result.id), ChordError)


def test_a_failed_step_fails_the_body_of_the_chord_it_is_in() -> None:
    result = chord([chain(add.s(1, 1), boom.s(), add.s(1)), add.s(1, 1)], identity.s()).apply_async()
    assert isinstance(error_of(result.id), ChordError)
    assert isinstance(error_of(result.parent[0].id), LocalError)


def test_a_frozen_chord_runs_again() -> None:
    first, second = uuid(), uuid()
    canvas = chord([add.s(1, 1), add.s(2, 2)], note.s(first)) | note.s(second)
    canvas.freeze()
    for number in range(3):
        assert canvas.apply_async().get(timeout=30) == [2, 4]
        for key in (first, second):
            assert noted(key) == [2, 4]
            AsyncResult(key, app=tasks.app).forget()
        assert not AsyncResult(first, app=tasks.app).exists(), number


def test_the_policies_of_failures() -> None:
    waits = chord([boom.s(), add.s(1, 1)], identity.s()).apply_async(failure_policy="wait")
    assert isinstance(error_of(waits.id), ChordError)
    runs = chord([boom.s(), add.s(1, 1)], tasks.kinds.s()).apply_async(failure_policy="run")
    assert AsyncResult(runs.id, app=tasks.app).get(timeout=30) == ["LocalError", "int"]


def test_callbacks_of_a_chord_belong_to_its_body() -> None:
    """Those of the call, of the chord's own options, and those that it gets by ``link``."""
    canvas = chord([add.si(1, 1)], identity.s())
    for sent in (
        lambda key: canvas.clone().apply_async(link=note.s(key)),
        lambda key: canvas.clone().set(link=note.s(key)).apply_async(),
        lambda key: canvas.clone().set(link=[note.s(key)]).delay(),
        lambda key: linked(canvas.clone(), note.s(key)).apply_async(),
        lambda key: group(canvas.clone().set(link=note.s(key))).apply_async(),
        lambda key: (identity.si(1) | canvas.clone().set(link=note.s(key))).apply_async(),
    ):
        sent(key := uuid())
        assert noted(key) == [2]


def linked(canvas: Any, callback: Any) -> Any:
    canvas.link(callback)
    return canvas


@pytest.mark.parametrize("group_id", ["nonsense", pytest.param(uuid(), id="unknown")])
@pytest.mark.parametrize("index", [{}, {"group_index": 0}])
def test_a_header_that_does_not_exist_is_refused(group_id: str, index: dict[str, int]) -> None:
    sentence = "no task can join the header .* it is unknown, or its body has begun or ended"
    body = dict(identity.s())
    with pytest.raises(InvalidCanvas, match=sentence):
        add.apply_async((1, 2), chord=body, group_id=group_id, **index)
    with pytest.raises(InvalidCanvas, match=sentence):
        add.delay_many([(1, 2), (3, 4)], chord=body, group_id=group_id, **index)


def test_ids_that_are_taken_by_a_held_task_are_refused() -> None:
    """A lone call of an id that is stored changes nothing, as without blockers."""
    blocker, own = identity.apply_async((1,), countdown=3600), uuid()
    blocked = [identity.apply_async((1,), task_id=own, blockers=[blocker]) for _ in range(2)]
    assert [result.stage for result in blocked] == ["held"] * 2
    body = chord([identity.s(1).set(countdown=3600)], identity.s()).apply_async(task_id=(id := uuid()))
    sentence = f"the task {id} waits for others already, under this id or for this group: give others ids"
    with pytest.raises(InvalidCanvas, match=sentence):
        chord([identity.s(1)], identity.s()).apply_async(task_id=id)
    for result in (blocker, body):
        result.revoke()


def test_classes_of_results_are_those_of_the_application() -> None:
    app = tasks.app
    sent = [
        add.delay(1, 2), add.delay_many([(1, 2)])[0], add.AsyncResult("x"), app.AsyncResult("x"),
        group(add.s(1, 2), add.s(1, 2).set(priority=1)).apply_async()[0], app.send_task(add.name, (1, 2)),
        group(add.s(1, 2), add.s(1, 2).set(priority=1)).apply_async()[1], add.s(1, 2).freeze(),
    ]  # fmt: skip
    assert [type(result) for result in sent] == [app.AsyncResult] * len(sent)
    assert {result.app for result in sent} == {app}
    members = group(add.s(1, 2), add.s(3, 4)).apply_async()
    assert type(members) is app.GroupResult
    assert issubclass(app.GroupResult, (GroupResult, ResultSet))
    assert issubclass(app.AsyncResult, AsyncResult)

    class Own(app.AsyncResult):
        pass

    assert (Own("x").app, repr(Own("x")), str(type(sent[0]))) == (
        app, "<Own: x>", "<class 'lavoro.result.async_result.AsyncResult'>",
    )  # fmt: skip
    assert pickle.loads(pickle.dumps(sent[0])) == sent[0]
    assert pickle.loads(pickle.dumps(members)) == members
    assert pickle.loads(pickle.dumps(app.ResultSet([sent[0]]))) == app.ResultSet([sent[0]])


def test_nothing_is_sent_of_a_canvas_with_an_argument_that_cannot_be_encoded() -> None:
    ids = [uuid() for _ in range(3)]
    members = [add.s(1, 1).set(task_id=id) for id in ids]
    for canvas in (group(*members, echo.s(object())), chord([*members], echo.s(object()))):
        with pytest.raises(TypeError, match="not JSON serializable"):
            canvas.apply_async()
    assert [AsyncResult(id, app=tasks.app).stage for id in ids] == [None] * 3


def test_a_task_waits_for_its_blockers() -> None:
    first = tasks.report.apply_async((0.5,))
    blocked = add.apply_async((1, 2), blockers=[first])
    assert blocked.get(timeout=30) == 3
    assert first.get() == "done"
    assert add.apply_async((1, 2), blockers=[first]).get(timeout=30) == 3  # it is over
    failed = boom.delay()
    assert isinstance(error_of(add.apply_async((1, 2), blockers=[failed]).id), ChordError)


def test_error_callbacks_of_a_body_are_called_when_the_header_fails() -> None:
    keys = [uuid(), uuid()]
    body = identity.s().on_error(note_id.s(keys[0])).on_error(note_error.s(key=keys[1]))
    result = chord([boom.s()], body).apply_async()
    assert noted(keys[0]) == result.id
    assert noted(keys[1])[0] == result.id
    assert noted(keys[1])[3].startswith('ChordError("Dependency ')


def test_a_task_waits_for_the_end_of_a_chain_and_of_a_group() -> None:
    last = chain(tasks.report.s(0.3), identity.s(), identity.s()).apply_async()
    members = group(tasks.report.s(0.3), add.s(1, 1)).apply_async()
    assert add.apply_async((1, 2), blockers=[last, members]).get(timeout=30) == 3
    assert [last.get(timeout=1), members.get(timeout=1)] == ["done", ["done", 2]]


# Replacing


def test_a_task_is_replaced_by_another() -> None:
    result = tasks.replaced_by.delay(add.s(2, 3))
    assert result.get(timeout=30) == 5
    assert AsyncResult(result.id, app=tasks.app).name == "tests.api.tasks.add"


@pytest.mark.parametrize(
    ("canvas", "value"),
    [
        (chain(add.s(1, 1), add.s(10)), 12),
        (group(add.s(1, 1), add.s(2, 2)), [2, 4]),
        (chord([add.s(1, 1)], identity.s()), [2]),
        (chain(add.s(1, 1), group(add.s(1), add.s(2))), [3, 4]),
        (chord([add.s(1, 1)], group(identity.s(), identity.s())), [[2], [2]]),
        (chain(group(add.s(1, 1), add.s(1, 2)), group(identity.s(), identity.s())), [[2, 3], [2, 3]]),
        (identity.s("x"), "x"),
    ],
)
def test_replacements_keep_their_place(canvas: Any, value: Any) -> None:
    key = uuid()
    assert tasks.replaced_by.apply_async((canvas,), link=note.s(key)).get(timeout=30) == value
    assert noted(key) == value
    in_chain = chain(tasks.replaced_by.s(canvas), echo.s("after")).apply_async()
    assert in_chain.get(timeout=30) == [[value, "after"], {}]
    assert in_chain.parent.get(timeout=30) == value
    assert result_of(chord([tasks.replaced_by.s(canvas), add.s(5, 5)], identity.s())) == [value, 10]
    in_both = chord([chain(tasks.replaced_by.s(canvas), echo.s("after"))], identity.s())
    assert result_of(in_both) == [[[value, "after"], {}]]


@pytest.mark.parametrize("kind", ["task", "chain", "body", "last of a body"])
def test_a_replacement_gives_up_an_id_of_its_own(kind: str) -> None:
    own = identity.s().set(task_id=uuid())
    canvas = {
        "task": own.clone((2,)),
        "chain": chain(add.s(1, 1), own),
        "body": chord([add.s(1, 1)], own),
        "last of a body": chord([add.s(1, 1)], chain(identity.s(), own)),
    }[kind]
    value = [2] if "body" in kind else 2
    assert tasks.replaced_by.delay(canvas).get(timeout=30) == value
    assert result_of(chain(tasks.replaced_by.si(canvas), identity.s())) == value


def test_a_replacement_that_fails_fails_the_task() -> None:
    key = uuid()
    result = tasks.replaced_by.apply_async((boom.s(1),), link_error=note_id.s(key))
    assert isinstance(error_of(result.id), LocalError)
    assert noted(key) == result.id
    assert isinstance(error_of(chord([tasks.replaced_by.s(boom.s())], identity.s()).apply_async().id), ChordError)


def test_replacements_are_counted() -> None:
    assert tasks.replaced_by.delay(tasks.replaced_by.s(lineage.s())).get(timeout=30)["replaced_task_nesting"] == 2


def test_a_task_adds_to_its_own_chord() -> None:
    assert result_of(chord([tasks.adds_to_chord.s(7), add.s(1, 1)], identity.s())) == ["added", 2, 14]
    assert isinstance(error_of(tasks.adds_to_chord.delay(7).id), ValueError)


def test_what_a_task_sends_are_its_children() -> None:
    result = tasks.sends_group.delay()
    assert result.get(timeout=30) is None
    (child,) = result.children
    assert child.get(timeout=30) == [2, 4]


def test_a_body_that_is_retried_gets_its_results_again() -> None:
    assert result_of(chord([add.s(1, 1)], tasks.insists_with.s())) == [1, [2]]


def test_chunks_and_maps_by_their_classes() -> None:
    assert result_of(chunks(add.s(), [(1, 1), (2, 2)], 1)) == [[2], [4]]


def test_classes_of_results_belong_to_the_application() -> None:
    sent = group(add.s(1, 1), add.s(2, 2)).apply_async()
    sent.save()
    restored = tasks.app.GroupResult.restore(sent.id)
    assert isinstance(restored, GroupResult)
    assert (restored == sent, restored.get(timeout=30), restored.app) == (True, [2, 4], tasks.app)
    parent = tasks.app.AsyncResult("parent")
    made = tasks.app.GroupResult("id", [parent], parent)
    assert (made.parent, made.app) == (parent, tasks.app)
    assert tasks.app.ResultSet([parent]).app is tasks.app
