"""Sets of results as objects: their members, their plain forms, saved groups, and graphs."""

from __future__ import annotations

import copy
import io
import pickle
import uuid
from typing import Any

import pytest

from lavoro import AsyncResult, EagerResult, Lavoro, serialization
from lavoro.exceptions import IncompleteStream
from lavoro.result import GroupResult, ResultSet, result_from_tuple
from lavoro.result.graph import DependencyGraph, GraphFormatter
from lavoro.store import workers
from tests.api.by_hand import Hand, Send
from tests.api.conftest import Rows


def test_an_empty_set(app: Lavoro) -> None:
    empty = ResultSet([])
    assert (empty.get(), empty.join(), empty.supports_native_join, len(empty)) == ([], [], None, 0)
    assert (empty.ready(), empty.successful(), empty.failed(), empty.completed_count()) == (True, True, False, 0)
    assert empty.app is app
    assert not GroupResult(None, [])
    assert GroupResult("g")


def test_a_set_of_eager_results() -> None:
    good, bad = EagerResult("a", 1, "SUCCESS"), EagerResult("b", ValueError("x"), "FAILURE")
    group = GroupResult("g", [good, bad])
    assert not group.supports_native_join
    with pytest.raises(ValueError, match="x"):
        group.get()
    assert group.get(propagate=False) == [1, bad.result]
    assert (group.ready(), group.failed(), group.completed_count()) == (True, True, 1)
    group.forget()
    group.revoke()
    assert good.state == "SUCCESS"


def test_members_come_and_go(app: Lavoro) -> None:
    a, b, c = (AsyncResult(id) for id in "abc")
    results = ResultSet([a])
    results.add(b)
    results.add(AsyncResult("b"))
    results.update([a, c, c])
    assert list(results) == [a, b, c]
    assert (results[0], results[1:], len(results)) == (a, [b, c], 3)
    results.remove("b")
    results.discard("b")
    results.discard(b)
    with pytest.raises(KeyError):
        results.remove(b)
    assert results == ResultSet([a, c])
    assert results != [a, c]
    assert repr(results) == "<ResultSet: [a, c]>"
    results.clear()
    assert list(results) == []


def test_groups_as_objects(app: Lavoro) -> None:
    group = GroupResult("g", [AsyncResult("a"), GroupResult("h", [AsyncResult("b")])], parent=AsyncResult("p"))
    form = (("g", (("p", None), None)), [(("a", None), None), (("h", None), [(("b", None), None)])])
    assert group.as_tuple() == form
    for same in (result_from_tuple(form), pickle.loads(pickle.dumps(group)), copy.copy(group)):
        assert (same, same.id, same.results, same.parent, same.app) == (group, "g", group.results, group.parent, app)
    assert result_from_tuple(group) is group
    assert app.GroupResult("g", group.results, parent=group.parent) == group == "g"
    assert group != GroupResult("g", group.results)
    assert (hash(group), str(group), repr(group)) == (hash("g"), "g", "<GroupResult: g [a, h]>")
    assert app.ResultSet([AsyncResult("a")]).app is app
    assert (group.backend, group.as_list()) == (app.backend, ["g", "p"])
    assert pickle.loads(pickle.dumps(ResultSet([AsyncResult("a")]))) == ResultSet([AsyncResult("a")])


def test_a_group_is_saved_and_found_again(app: Lavoro, rows: Rows) -> None:
    group = GroupResult("my group", [AsyncResult("a"), GroupResult("h", [AsyncResult("b")])], parent=AsyncResult("p"))
    assert GroupResult.restore("my group") is None
    assert group.save() is group
    group.add(AsyncResult("c"))
    group.save(backend=app.backend)
    for found in (GroupResult.restore("my group"), app.backend.restore_group("my group"), GroupResult.restore(
        "my group", app=app)):  # fmt: skip
        assert (found, found.parent, found.app) == (group, AsyncResult("p"), app)
    GroupResult("empty", []).save()
    assert GroupResult.restore("empty").results == []
    with app.database.tx() as tx:
        workers.forget_old(tx, kept=3600.0)
        tx.connection.execute(
            "update lavoro.saved_group set saved_at = now() - interval '2 hours' where form::text ~ 'my'"
        )
        assert GroupResult.restore("my group") == group
        workers.forget_old(tx, kept=3600.0)
    assert GroupResult.restore("my group") is None
    GroupResult("empty").delete()
    assert rows("select id from lavoro.saved_group") == []
    with pytest.raises(ValueError, match="group_id must not be empty"):
        GroupResult(None, []).save()


def test_a_chain_of_ten_thousand_steps(app: Lavoro, hand: Hand) -> None:
    last: AsyncResult[Any] = app.send_task("one")
    ids = [last.id]
    for number in range(10_000):
        last = AsyncResult(str(number), parent=last)
        ids.append(last.id)
    behind = GroupResult("g", [last], parent=last)
    assert result_from_tuple(last.as_tuple()).as_list() == ids[::-1]
    assert result_from_tuple(behind.as_tuple()).as_list() == ["g", *ids[::-1]]
    hand.fail(app.AsyncResult(ids[0]))
    for get in (last.get, behind.get):
        with pytest.raises(KeyError):
            get(timeout=60)
    behind.forget()
    assert app.AsyncResult(ids[0]).state == "PENDING"


def test_a_graph_that_is_not_over(send: Send) -> None:
    [result] = send(1)
    with pytest.raises(IncompleteStream):
        _ = result.graph
    assert list(result.build_graph(intermediate=True)) == [result]


def test_a_graph_for_graphviz() -> None:
    pairs = [("a", ["b", "c"]), ("b", ["d"]), ("c", []), ("d", [])]
    graph, text = DependencyGraph(pairs, formatter=GraphFormatter(root="a", shape="oval")), io.StringIO()
    graph.to_dot(text)
    first, box, *_, last = text.getvalue().splitlines()
    assert (first, last) == ("digraph dependencies {", "}")
    assert 'root="a"' in box
    assert '"a" -> "b" [shape="oval"' in text.getvalue()
    assert repr(graph).splitlines()[:4] == ["a(3)", "     b(1)", "          d(0)", "     c(0)"]
    assert list(graph.edges()) == ["a", "b"]
    assert ("a" in graph, len(graph)) == (True, 4)


def test_a_result_may_be_a_result(app: Lavoro) -> None:
    """It is stored as its tuple."""
    group = GroupResult(str(uuid.uuid4()), [AsyncResult("a")])
    assert result_from_tuple(serialization.loads(serialization.dumps(group))) == group
