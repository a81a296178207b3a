"""Every option of a call, on every way into a canvas: the worker and the row show it as that of a single call."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from lavoro import Lavoro, Task, chain, chord, group, uuid
from lavoro.middleware import Middleware, RunCall, SendCall
from lavoro.testing import worker
from tests.conftest import Eventually
from tests.postgres import Cluster

SOON = dt.datetime.now(dt.timezone.utc)
LATE = SOON + dt.timedelta(hours=1)
OPTIONS: dict[str, Callable[[], Any]] = {
    "queue": lambda: "slow",
    "priority": lambda: 7,
    "countdown": lambda: 0.1,
    "eta": lambda: SOON,
    "expires": lambda: LATE,
    "headers": lambda: {"tenant": "x"},
    "task_id": uuid,
    "time_limit": lambda: 90,
    "soft_time_limit": lambda: 80,
    "ignore_result": lambda: True,
    "shadow": lambda: "another name",
    "serializer": lambda: "pickle",
    "correlation_id": lambda: "c",
    "reply_to": lambda: "r",
    "argsrepr": lambda: "(...)",
    "kwargsrepr": lambda: "{...}",
    "stamps": lambda: {"tenant": ["x"]},
    "stamped_headers": lambda: ["tenant"],
    "blockers": list,
    "link": list,
    "properties": lambda: {"own": 1},
    "MessageGroupId": lambda: "m",
}
FIELDS = (
    "queue", "priority", "eta", "expires", "headers", "timelimit", "time_limit", "soft_time_limit", "ignore_result",
    "shadow", "correlation_id", "reply_to", "argsrepr", "kwargsrepr", "stamps", "stamped_headers", "properties",
    "delivery_info", "retries", "is_eager", "called_directly", "utc", "origin", "lang",
)  # fmt: skip
"""Those of the request that do not depend on the place in a canvas."""


class Kit:
    """Tasks, and what the runs of ``target`` saw, by the key that its caller gave."""

    def __init__(self, app: Lavoro) -> None:
        self.app = app
        self.seen: dict[str, dict[str, Any]] = {}

        @app.task(bind=True, max_retries=1)
        def target(self_: Task[..., Any], *args: Any, key: str, again: bool = False) -> str:
            if again and not self_.request.retries:
                raise self_.retry(countdown=0)
            told = {name: self_.request.get(name) for name in FIELDS}
            told["retries"] -= again
            told["kwargsrepr"] = told["kwargsrepr"].replace(repr(key), "KEY").replace(", 'again': True", "")
            own = self_.request.id
            if told["correlation_id"] == own:
                told["correlation_id"] = "ID"
                told["properties"] = {**told["properties"], "correlation_id": "ID"}
            self.seen[key] = {**told, "id": own}
            return key

        @app.task(bind=True)
        def replaces(self_: Task[..., Any], form: Any) -> Any:
            return self_.replace(app.signature(form))

        self.target = target
        self.replaces = replaces
        self.plain = app.task(name="plain")(lambda *args: 1)
        self.fails = app.task(name="fails")(lambda *args: 1 / 0)

    def bulk(self, given: Any) -> Any:
        return self.target.delay_many([given.kwargs, given.kwargs | {"key": "other"}], **given.options)

    def joined(self, given: Any) -> Any:
        with psycopg.connect(self.app.conf.broker_url) as connection, self.app.transaction(connection):
            given.apply_async()

    def again(self, given: Any) -> Any:
        return given.clone(kwargs={"again": True})


class Looking(Middleware):
    """Changes nothing."""

    def run(self, call: RunCall, proceed: Callable[[RunCall], Any]) -> Any:
        return proceed(call)

    def send(self, call: SendCall, proceed: Callable[[SendCall], Any]) -> Any:
        return proceed(call)


@pytest.fixture(scope="module", params=[(), (Looking,)], ids=["alone", "with middleware"])
def kit(request: pytest.FixtureRequest, cluster: Cluster, migrated_template: str) -> Iterator[Kit]:
    name = cluster.create_database(template=migrated_template)
    with Lavoro("runs", broker=cluster.url(name), set_as_current=False, middleware=request.param) as app:
        app.conf.update(accept_content=["json", "pickle"])
        kit = Kit(app)
        with worker(app, pool="threads", concurrency=4, queues="celery,slow"):
            yield kit
    cluster.drop_database(name)


WAYS: dict[str, Callable[[Kit, Any], Any]] = {
    "bulk": lambda kit, given: kit.bulk(given),
    "transaction": lambda kit, given: kit.joined(given),
    "retry": lambda kit, given: kit.again(given).apply_async(),
    "first step": lambda kit, given: chain(given, kit.plain.si()).apply_async(),
    "next step": lambda kit, given: chain(kit.plain.si(), given).apply_async(),
    "middle step": lambda kit, given: chain(kit.plain.si(), given, kit.plain.si()).apply_async(),
    "step behind a group": lambda kit, given: (group(kit.plain.s(), kit.plain.s()) | given).apply_async(),
    "retried step": lambda kit, given: chain(kit.plain.si(), kit.again(given), kit.plain.si()).apply_async(),
    "member of a group": lambda kit, given: group(kit.plain.s(), given).apply_async(),
    "member behind a step": lambda kit, given: chain(kit.plain.s(), group(given, kit.plain.s())).apply_async(),
    "member of a header": lambda kit, given: chord([kit.plain.s(), given], kit.plain.si()).apply_async(),
    "retried member": lambda kit, given: chord([kit.plain.s(), kit.again(given)], kit.plain.si()).apply_async(),
    "step in a header": lambda kit, given: chord([chain(kit.plain.s(), given)], kit.plain.si()).apply_async(),
    "body": lambda kit, given: chord([kit.plain.s()], given).apply_async(),
    "retried body": lambda kit, given: chord([kit.plain.s()], kit.again(given)).apply_async(),
    "body of several": lambda kit, given: chord([kit.plain.s()], group(given, kit.plain.s())).apply_async(),
    "body in a header": lambda kit, given: chord([chord([kit.plain.s()], given)], kit.plain.si()).apply_async(),
    "link": lambda kit, given: kit.plain.apply_async(link=given),
    "one of several links": lambda kit, given: kit.plain.apply_async(link=[kit.plain.s(), given]),
    "link_error": lambda kit, given: kit.fails.apply_async(link_error=given),
    "link_error of a body": lambda kit, given: chord([kit.fails.s()], kit.plain.s().on_error(given)).apply_async(),
    "replacement": lambda kit, given: kit.replaces.delay(given),
    "replacement in a chain": lambda kit, given: chain(kit.replaces.si(given), kit.plain.si()).apply_async(),
    "replacement by a chain": lambda kit, given: kit.replaces.delay(chain(given, kit.plain.si())),
    "eager": lambda kit, given: given.apply(),
}
REPLACED = "it goes on under the id of the task that it replaces"
RUNS_HERE = "a run in the calling process has no message"
MEANINGLESS = {
    ("bulk", "task_id"): "each call has an id of its own",
    ("replacement", "task_id"): REPLACED,
    ("replacement in a chain", "task_id"): REPLACED,
    **{("eager", option): RUNS_HERE for option in ("queue", "priority", "eta", "countdown", "expires")},
}
NEEDED = {"member of a header", "retried member", "step in a header", "body in a header"}
"""A chord needs the result: it is stored also where the option says to ignore it."""
OF_A_MESSAGE = {"queue", "priority", "delivery_info", "is_eager", "timelimit", "expires", "eta"}
"""Fields that an eager run fills in another way."""


ALONE = ("countdown", "eta", "task_id", "ignore_result")
"""Options that ways leave out or change, or that others hide."""
SETS = {"none": (), "most": tuple(name for name in OPTIONS if name not in ALONE)} | {name: (name,) for name in OPTIONS}


def given_for(kit: Kit, option: str, key: str) -> Any:
    return kit.target.si(key=key).set(**{name: OPTIONS[name]() for name in SETS[option]})


@pytest.mark.parametrize(
    "option", [pytest.param(name, marks=() if name in ("none", "most", *ALONE) else pytest.mark.slow) for name in SETS]
)
def test_options(kit: Kit, option: str, eventually: Eventually) -> None:
    """All ways at once."""
    ways = [way for way in WAYS if not any((way, name) in MEANINGLESS for name in SETS[option][:1])]
    single = given_for(kit, option, "single")
    kit.seen.clear()
    single.apply_async()
    sent = {way: given_for(kit, option, way) for way in ways}
    for way in ways:
        WAYS[way](kit, sent[way])
    eventually(lambda: set(kit.seen) >= {"single", *ways})
    seen = {way: dict(kit.seen[way]) for way in ("single", *ways)}
    for way in seen.keys() - {"eager"}:
        seen[way] |= eventually(lambda id=seen[way]["id"]: row(kit, id))
    for told in seen.values() if option == "countdown" else ():
        assert told.pop("eta") or told["is_eager"]
        told.get("row_options", {}).pop("eta", None)
    assert {way: found for way in ways if (found := differences(seen[way], seen["single"], way))} == {}
    if option == "task_id":
        assert {way: kit.seen[way]["id"] for way in ways} == {way: sent[way].options["task_id"] for way in ways}


def differences(told: dict[str, Any], single: dict[str, Any], way: str) -> dict[str, Any]:
    """What a way shows otherwise than a single call, and that."""
    left_out = {"id"} | (OF_A_MESSAGE | single.keys() - FIELDS if way == "eager" else set())
    if way in NEEDED:
        left_out.add("no_result")
    if way in ("replacement", "replacement in a chain"):
        left_out.add("delivery_info")  # it goes on with the starts of the task that it replaces, so it is "redelivered"
    names = single.keys() - left_out
    return {name: (told.get(name), single[name]) for name in sorted(names) if told.get(name) != single[name]}


def row(kit: Kit, id: str) -> dict[str, Any] | None:
    """The row of an ended task, without what its place in a canvas gives it."""
    with psycopg.connect(kit.app.conf.broker_url, row_factory=dict_row) as connection:
        found = connection.execute(
            "select queue as row_queue, priority as row_priority, options as row_options, payload is null as plain,"
            " result is null as no_result, state"
            " from lavoro.finished where id::text = %s",
            [id],
        ).fetchone()
    if found is not None:
        found["row_options"] = {
            name: value for name, value in (found["row_options"] or {}).items() if name not in _OF_CANVAS
        }
    return found


_OF_CANVAS = {
    "chain", "chord", "group_id", "group_index", "root_id", "parent_id", "replaced_task_nesting", "gathers", "task_id",
}  # fmt: skip
