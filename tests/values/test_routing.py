"""Calls find their queue by Celery's rules, and queues that cannot be are refused before anything is stored."""

from __future__ import annotations

import doctest
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lavoro.calling import routing
from lavoro.calling.routing import Router, checked_name, queue_names
from lavoro.exceptions import ImproperlyConfigured, QueueNotFound


@dataclass(frozen=True)
class Exchange:
    """An exchange as kombu has them: only what is read of it."""

    name: str = ""
    type: str = "direct"


@dataclass(frozen=True)
class Queue:
    """A queue as kombu has them: only what is read of it."""

    name: str
    exchange: Any = field(default_factory=Exchange)
    routing_key: str = ""


def queue_of(router: Router, name: str = "a.task", **options: Any) -> Any:
    return router.route(name, (), {}, options)["queue"]


@pytest.fixture
def make_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Make an importable module of that name and source."""
    monkeypatch.syspath_prepend(tmp_path)
    made = []

    def make(name: str, source: str) -> None:
        made.append(name)
        (tmp_path / f"{name}.py").write_text(source)

    yield make
    for name in made:
        sys.modules.pop(name, None)


# Names


@pytest.mark.parametrize(
    "name",
    ["a", "a b", "a_b.c-d", "Müll/主队列", "🚚", "*", "x" * 200, "a,b", "'; drop table", "\u2028", "\xa0"],
)
def test_good_names(name: str) -> None:
    assert checked_name(name) == name
    assert queue_of(Router(), queue=name) == name
    assert queue_of(Router({"a.task": name})) == name
    assert queue_names([name], "x") == [name]


@pytest.mark.parametrize("name", ["x" * 201, "a\nb", "\x00", "tab\t", "\x7f", "\x85", "\ud800", "trailing\n"])
def test_bad_names(name: str) -> None:
    for use in (
        lambda: checked_name(name),
        lambda: queue_of(Router(), queue=name),
        lambda: queue_of(Router(), queue=Queue(name)),
        lambda: queue_of(Router({"a.task": name})),
        lambda: queue_of(Router([lambda *_, **__: {"queue": name}])),
        lambda: Router(None, name),
        lambda: Router(queues=[name]),
        lambda: queue_names({name: {}}, "x"),
        lambda: queue_names(None, name),
    ):
        with pytest.raises(ValueError, match="cannot name a queue: names have 1 to 200 characters and no control"):
            use()


def test_the_empty_name_is_no_name() -> None:
    with pytest.raises(ValueError, match="'' cannot name a queue"):
        checked_name("")
    with pytest.raises(ValueError, match="'' cannot name a queue"):
        queue_names([""], "x")


def test_a_refused_name_is_shown_shortened() -> None:
    with pytest.raises(ValueError, match="cannot name") as caught:
        checked_name("x" * 100_000)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("task_queues", "expected"),
    [
        (None, ["celery"]),
        ([], ["celery"]),
        ({}, ["celery"]),
        (["a", "b"], ["a", "b"]),
        (("b", "a", "b"), ["b", "a"]),
        ({"a": {"exchange": "x"}, "b": {}}, ["a", "b"]),
        ([Queue("a"), "b", Queue("c", routing_key="d")], ["a", "b", "c"]),
        (MappingProxyType({"a": None}), ["a"]),
        (iter([Queue("a")]), ["a"]),
    ],
)
def test_queue_names(task_queues: Any, expected: list[str]) -> None:
    assert queue_names(task_queues, "celery") == expected


@pytest.mark.parametrize(
    ("task_queues", "says"),
    [
        ("a,b", "must be a list of queues or a dict, not the text 'a,b'"),
        ([5], "5 is no queue"),
        ([None], "None is no queue"),
        ([{"name": "a"}], "is no queue"),
        ({1: {}}, "1 is no queue"),
        ([Queue("news", Exchange("news", type="fanout"))], "'news' is a broadcast queue"),
        ({"news": Queue("news", Exchange("news", type="fanout"))}, "'news' is a broadcast queue"),
        ({"news": {"exchange": "news", "exchange_type": "fanout"}}, "'news' is a broadcast queue"),
        ({"news": {"exchange": Exchange("news", type="fanout")}}, "'news' is a broadcast queue"),
    ],
)
def test_what_is_no_queue(task_queues: Any, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(says)):
        queue_names(task_queues, "celery")
    with pytest.raises(ImproperlyConfigured, match=re.escape(says)):
        Router(queues=task_queues)


# Without routes


@pytest.mark.parametrize("options", [None, {}, {"queue": None}, {"queue": ""}, {"routing_key": "x"}, {"exchange": "x"}])
def test_calls_without_a_queue_go_to_the_default_queue(options: dict[str, Any] | None) -> None:
    assert Router(None, "mine").route("a", (), {}, options)["queue"] == "mine"


def test_options_of_a_call_are_kept_and_the_mapping_left_alone() -> None:
    options: dict[str, Any] = {"countdown": 5, "priority": None, "headers": {}}
    routed = Router().route("a", (), {}, options)
    assert routed == {**options, "queue": "celery"}
    assert options == {"countdown": 5, "priority": None, "headers": {}}
    assert routed["headers"] is options["headers"]


def test_a_queue_may_be_given_as_an_object() -> None:
    assert queue_of(Router(), queue=Queue("mail")) == "mail"


@pytest.mark.parametrize("queue", [5, ["mail"], {"name": "mail"}, object()])
def test_a_call_with_what_is_no_queue(queue: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="is no queue: give a name"):
        queue_of(Router(), queue=queue)


def test_arguments_may_be_left_out() -> None:
    assert Router({"a": "q"}).route("a") == {"queue": "q"}


# Dicts, globs, patterns


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mail.send", "exact"),
        ("mail.sender", "mail"),
        ("mail.", "mail"),
        ("mail", "celery"),
        ("Mail.x", "celery"),
        ("my.mail.x", "celery"),
        ("video.encode.hd", "video"),
        ("video.encode", "celery"),
        ("img_resize", "images"),
        ("img_resize_again", "images"),
        ("x_img_resize", "celery"),
        ("a[b]", "literal"),
        ("ab", "celery"),
        ("exact?", "question"),
        ("exactx", "celery"),
        ("file.x.tail", "tail"),
    ],
)
def test_names_globs_and_patterns(name: str, expected: str) -> None:
    router = Router(
        {
            "mail.*": "mail",
            "mail.send": "exact",
            "video.*.*": {"queue": "video"},
            re.compile(r"img_(resize|crop)"): {"queue": "images"},
            "a[b]": "literal",
            "exact?": "question",
            "file.?.ta*": "tail",
        }
    )
    for _ in range(2):
        assert queue_of(router, name) == expected


def test_the_first_of_several_patterns_decides() -> None:
    first_wins = OrderedDict([("a.*", "one"), (re.compile("a"), "two"), ("*", "rest")])
    assert [queue_of(Router(first_wins), name) for name in ("a.b", "ab", "b")] == ["one", "two", "rest"]


@pytest.mark.parametrize("route", [{"queue": "mail"}, "mail", Queue("mail"), {"queue": Queue("mail")}])
def test_forms_of_a_route(route: Any) -> None:
    assert Router({"a.*": route}).route("a.b", (), {}, {"countdown": 1}) == {"queue": "mail", "countdown": 1}


def test_a_route_gives_options_and_the_call_wins() -> None:
    router = Router({"a": {"queue": "mail", "priority": 3, "routing_key": "mail.out", "expires": 60}})
    assert router.route("a", (), {}, {"priority": 9, "expires": None, "queue": "mine", "countdown": 1}) == {
        "queue": "mine",
        "priority": 9,
        "routing_key": "mail.out",
        "expires": 60,
        "countdown": 1,
    }
    assert router.route("a", (), {}, {"queue": None})["queue"] == "mail"
    assert router.route("a", (), {}, {"queue": ""})["queue"] == "mail"


def test_a_route_without_a_queue_uses_the_default_queue() -> None:
    assert Router({"a": {"priority": 3}}).route("a", (), {}, {}) == {"priority": 3, "queue": "celery"}


def test_the_routes_themselves_are_left_alone() -> None:
    route: dict[str, Any] = {"queue": "mail", "priority": 1}
    router = Router({"a": route})
    router.route("a", (), {}, {"priority": 5})["more"] = 1
    assert route == {"queue": "mail", "priority": 1}
    assert router.route("a", (), {}, {}) == route


@pytest.mark.parametrize("routes", [None, {}, [], (), ""])
def test_no_routes(routes: Any) -> None:
    assert queue_of(Router(routes)) == "celery"


# Lists, callables, paths


def test_in_a_list_the_first_that_knows_the_task_decides() -> None:
    router = Router([{"a": "one"}, lambda name, *_, **__: "two" if name == "b" else None, {"*": "three", "a": "four"}])
    assert [queue_of(router, name) for name in ("a", "b", "c")] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "routes",
    [
        [[("a.*", {"queue": "one"}), ("b", "two")]],
        ([("a.*", {"queue": "one"}), ("b", "two")],),
        [("a.*", {"queue": "one"}), ("b", "two")],
        [(re.compile(r"a\..*"), "one"), ["b", Queue("two")]],
    ],
)
def test_lists_of_pairs(routes: Any) -> None:
    router = Router(routes)
    assert [queue_of(router, name) for name in ("a.x", "b", "c")] == ["one", "two", "celery"]


def test_a_callable_gets_the_whole_call() -> None:
    seen: list[Any] = []

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **more: Any) -> dict[str, Any]:
        seen.append((name, args, kwargs, dict(options), task, more))
        return {"queue": f"shop-{kwargs['shop']}", "priority": 2}

    task = object()
    routed = Router(route).route("a", (1, 2), {"shop": 7}, {"countdown": 5, "queue": Queue("given")}, task)
    assert seen == [("a", (1, 2), {"shop": 7}, {"countdown": 5, "queue": "given"}, task, {})]
    assert routed == {"queue": "given", "priority": 2, "countdown": 5}
    assert Router(route).route("a", (), {"shop": 7}, {})["queue"] == "shop-7"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, "next"),
        ("mail", "mail"),
        (Queue("mail"), "mail"),
        ({"queue": "mail"}, "mail"),
        (MappingProxyType({"queue": "mail"}), "mail"),
        ({}, "celery"),
        ("", "celery"),
        ({"queue": None}, "celery"),
        ({"queue": ""}, "celery"),
    ],
)
def test_answers_of_a_callable(answer: Any, expected: str) -> None:
    assert queue_of(Router([lambda *_, **__: answer, {"*": "next"}])) == expected


@pytest.mark.parametrize("answer", [5, True, ["mail"], object])
def test_a_wrong_answer_of_a_callable_is_named(answer: Any) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"task_routes sends 'a\.task' to .*: that must be a queue's name or"
    ):
        queue_of(Router(lambda *_, **__: answer))


def test_errors_of_a_callable_come_through() -> None:
    with pytest.raises(ZeroDivisionError):
        queue_of(Router(lambda *_, **__: 1 // 0))


def test_an_object_that_can_be_called() -> None:
    class ByPrefix:
        def __call__(self, name: str, *_args: Any, **_options: Any) -> str:
            return name.partition(".")[0]

    assert queue_of(Router(ByPrefix()), "mail.send") == "mail"
    assert queue_of(Router([ByPrefix()]), "mail.send") == "mail"


def test_a_router_of_celery_3() -> None:
    class Old:
        def route_for_task(self, task: str, args: Any = None, kwargs: Mapping[str, Any] | None = None) -> Any:
            return {"queue": f"{task}-{args}-{kwargs}"}

    assert Router([Old()]).route("a", (1,), {"b": 2})["queue"] == "a-(1,)-{'b': 2}"
    assert Router(Old).route("a", (), {})["queue"] == "a-()-{}"


@pytest.mark.parametrize(
    "path",
    ["routes_a:route", "routes_a.route", "routes_a:Old", "routes_a.table", "routes_a:several", "routes_a:further"],
)
def test_dotted_paths(path: str, make_module: Callable[[str, str], None]) -> None:
    make_module(
        "routes_a",
        """
def route(name, args, kwargs, options, task=None, **kw):
    return "mail"

class Old:
    def route_for_task(self, task, args=None, kwargs=None):
        return {"queue": "mail"}

table = {"a.*": "mail"}
several = [("a.*", "mail"), ("b", "other")]
further = "routes_a.route"
""",
    )
    assert queue_of(Router(path)) == "mail"
    assert queue_of(Router([{"b": "other"}, path])) == "mail"


def test_a_dotted_path_is_imported_at_the_first_call(make_module: Callable[[str, str], None]) -> None:
    router = Router(["routes_late.route", {"*": "rest"}])
    with pytest.raises(ImportError, match="routes_late"):
        queue_of(router)
    make_module("routes_late", "def route(name, *args, **kwargs): return 'late' if name == 'b' else None")
    assert [queue_of(router, name) for name in ("a", "b")] == ["rest", "late"]


@pytest.mark.parametrize(
    ("routes", "says"),
    [
        ({"a": 5}, "task_routes sends 'a' to 5"),
        ({"a.*": None}, "task_routes sends 'a.*' to None"),
        ([5], "task_routes holds 5"),
        ({5: "a"}, "task_routes holds {5: 'a'}"),
        ([["a", "b", "c"]], "task_routes holds ['a', 'b', 'c']"),
        ([[{"a": "b"}]], "task_routes holds [{'a': 'b'}]"),
        (5, "task_routes holds 5"),
    ],
)
def test_wrong_routes_are_named_at_once(routes: Any, says: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(says)):
        Router(routes)


# Only known queues


@pytest.mark.parametrize("queues", [["mail", "celery"], {"mail": {}, "celery": {}}, [Queue("mail"), Queue("celery")]])
def test_only_known_queues(queues: Any) -> None:
    router = Router({"a": "mail", "b": "lost"}, "celery", queues, False)
    assert [queue_of(router, "a"), queue_of(router, "c"), queue_of(router, queue="mail")] == ["mail", "celery", "mail"]
    says = r"^there is no queue 'lost' in task_queues \(mail, celery\): add it there, or set task_create_missing_queues"
    with pytest.raises(QueueNotFound, match=says):
        queue_of(router, queue="lost")
    with pytest.raises(QueueNotFound, match=says):
        queue_of(router, "b")
    assert queue_of(router, queue=Queue("lost")) == "lost"


def test_only_the_default_queue_is_known_without_task_queues() -> None:
    router = Router(None, "mine", None, False)
    assert queue_of(router) == "mine"
    with pytest.raises(QueueNotFound, match=r"no queue 'celery' in task_queues \(mine\)"):
        queue_of(router, queue="celery")


def test_the_default_queue_must_be_known_too() -> None:
    router = Router(None, "celery", ["mail"], False)
    assert queue_of(router, queue="mail") == "mail"
    with pytest.raises(QueueNotFound, match=r"no queue 'celery' in task_queues \(mail\)"):
        queue_of(router)


def test_unknown_queues_are_made_by_default() -> None:
    assert queue_of(Router(queues=["mail"]), queue="new") == "new"
    assert queue_of(Router(queues=["mail"])) == "celery"


# Exchange and routing key


@pytest.mark.parametrize("create_missing", [True, False])
@pytest.mark.parametrize(
    "queues",
    [
        {"feeds": {"exchange": "media", "routing_key": "media.feed"}, "video": {}},
        {"feeds": {"exchange": "media", "binding_key": "media.feed"}, "video": {}},
        [Queue("feeds", Exchange("media"), "media.feed"), Queue("video")],
        [Queue("feeds", "media", "media.feed"), "video"],
    ],
)
def test_exchange_and_routing_key_lead_to_their_queue(queues: Any, create_missing: bool) -> None:
    router = Router({"route": {"exchange": "media", "routing_key": "media.feed"}}, "video", queues, create_missing)
    assert queue_of(router, exchange="media", routing_key="media.feed") == "feeds"
    assert queue_of(router, exchange=Exchange("media"), routing_key="media.feed") == "feeds"
    assert queue_of(router, exchange="video", routing_key="video") == "video"
    assert queue_of(router, "route") == "feeds"
    assert queue_of(router, "route", queue="video") == "video"
    with pytest.raises(QueueNotFound, match=r"\(feeds, video\) has the exchange 'media' and the routing key 'other'"):
        queue_of(router, exchange="media", routing_key="other")


# All together


def test_examples_in_the_docs_hold() -> None:
    assert doctest.testmod(routing).failed == 0


def test_one_router_serves_many_names_within_bounds() -> None:
    router = Router({"tenant.*": "tenants"})
    assert {queue_of(router, f"tenant.{number}") for number in range(10_000)} == {"tenants"}
    assert {queue_of(router, queue=f"q{number}") for number in range(3000)} == {f"q{number}" for number in range(3000)}


@pytest.mark.skipif("coverage" in sys.modules, reason="measuring coverage takes longer than routing")
@pytest.mark.parametrize("options", [{}, {"countdown": 5}, {"queue": "mail", "priority": 3}])
def test_routing_costs_next_to_nothing(options: dict[str, Any]) -> None:
    router = Router()

    def seconds(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            router.route("a.task", (1,), {}, options, None)
        return time.perf_counter() - start

    # 0.5 us on an ordinary machine; the best of many short runs, because other processes may take their share.
    assert min(seconds(200) for _ in range(200)) / 200 < 5e-6
