"""The application: settings that may come late, tasks and their classes, and which application is current."""

from __future__ import annotations

import functools
import gc
import inspect
import pickle
import sys
import threading
import typing
import uuid
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from flask import Flask

import lavoro
from lavoro import AsyncResult, Celery, Lavoro, Task, current_app, current_task, shared_task
from lavoro.exceptions import ImproperlyConfigured, NotRegistered
from lavoro.runtime import current_app as current
from tests.api.conftest import Rows


def add(x: int, y: int = 0) -> int:
    return x + y


def test_public_names() -> None:
    assert Celery is Lavoro
    assert all(hasattr(lavoro, name) for name in lavoro.__all__)
    assert lavoro.__version__


# Settings


def test_settings_may_change_after_tasks_were_decorated(app: Lavoro, rows: Rows) -> None:
    task = app.task(name="add")(add)
    task.delay(1)
    app.conf.update(task_default_queue="later", task_default_priority=5)
    task.delay(1)
    app.conf.task_routes = {"add": "routed"}
    task.delay(1)
    app.conf["task_always_eager"] = True
    assert task.delay(1).get() == 1
    assert [(row["queue"], row["priority"]) for row in rows()] == [("celery", 0), ("later", 5), ("routed", 5)]


def test_database_may_change(app: Lavoro, rows: Rows) -> None:
    url = app.conf.broker_url
    with Lavoro("moving", broker="postgresql://127.0.0.1:1/none") as moving:
        first = moving.database
        moving.conf.broker_url = url
        moving.task(add).delay(1)
        assert moving.database is not first
    assert len(rows()) == 1
    moving.task(add).delay(2)  # closed, it opens again
    moving.close()
    assert len(rows()) == 2


def test_configuration_object_is_read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Lavoro("late")
    app.config_from_object("tests_late_config")
    app.task(add)
    module = ModuleType("tests_late_config")
    vars(module).update(task_default_queue="late", lavoro_batch=7)
    monkeypatch.setitem(sys.modules, "tests_late_config", module)
    assert (app.conf.task_default_queue, app.conf.lavoro_batch) == ("late", 7)
    with pytest.raises(ImportError):
        app.config_from_object("tests_no_such_config", force=True)


def test_configuration_that_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Lavoro("missing")
    app.config_from_object("tests_no_such_config", silent=True)
    assert app.conf.task_default_queue == "celery"
    monkeypatch.delenv("SHOP_CONFIG", raising=False)
    assert app.config_from_envvar("SHOP_CONFIG", silent=True) is False
    with pytest.raises(ImproperlyConfigured, match="SHOP_CONFIG"):
        app.config_from_envvar("SHOP_CONFIG")


@pytest.mark.parametrize("read", [True, False])
def test_second_configuration_object_replaces_the_first(read: bool) -> None:
    app = Lavoro("twice")
    app.config_from_object({"task_default_queue": "first", "lavoro_batch": 7})
    app.conf.task_serializer = "pickle"
    assert not read or app.conf.lavoro_batch == 7
    assert app.config_from_object({"task_default_queue": "second"}) is None
    assert app.conf.task_default_queue == "second"
    assert "lavoro_batch" not in app.conf.changes
    assert app.conf.task_serializer == "pickle"
    assert app.config_from_object({"timezone": "Europe/Rome"}, force=True) is app.conf
    assert app.conf.changes == {"timezone": "Europe/Rome", "task_serializer": "pickle"}


def test_configuration_that_is_replaced_while_it_is_read() -> None:
    app = Lavoro("replaced")

    class First:
        @property
        def task_default_queue(self) -> str:
            app.config_from_object({"task_default_queue": "second"})
            return "first"

    app.config_from_object(First())
    assert app.conf.task_default_queue == "second"


def test_names_in_a_lower_case_namespace_are_no_misspelt_settings() -> None:
    app = Lavoro("lower")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app.config_from_object({"celery_task_default_queue": "mail"}, namespace="celery", force=True)
    assert app.conf.task_default_queue == "mail"


def test_namespace() -> None:
    app = Lavoro("django")
    source = SimpleNamespace(CELERY_TASK_DEFAULT_QUEUE="mail", TASK_DEFAULT_QUEUE="not mine", DEBUG=True)
    app.config_from_object(source, namespace="CELERY")
    assert app.conf.task_default_queue == "mail"
    assert "debug" not in app.conf


def test_whole_flask_configuration_is_tolerated() -> None:
    flask_app = Flask("shop")
    flask_app.config.update(broker_url="postgresql://x/y", SECRET_KEY="s", BROKER_URL="redis://", CELERY={"a": 1})
    app = Lavoro("shop")
    app.conf.update(flask_app.config)
    app.conf.update({"CELERY_RESULT_BACKEND": "redis://", "SERVER_NAME": None})
    assert app.conf.broker_url == "postgresql://x/y"
    assert app.conf.SECRET_KEY == "s"
    app.conf.check()


def test_settings_of_the_constructor_and_as_a_whole() -> None:
    app = Lavoro("shop", broker="postgresql://x/y", task_time_limit=5, changes={"lavoro_batch": 3}, include=["a"])
    assert (app.conf.broker_url, app.conf.task_time_limit, app.conf.lavoro_batch) == ("postgresql://x/y", 5, 3)
    app.add_defaults({"timezone": "Europe/Rome"})
    assert app.conf.timezone == "Europe/Rome"
    app.conf = {"lavoro_batch": 9}  # type: ignore[assignment]
    assert (app.conf.lavoro_batch, app.conf.broker_url) == (9, None)


def test_default_pool_and_timeouts_are_those_of_the_settings() -> None:
    with Lavoro("shop", broker="postgresql://x/y", broker_pool_limit=3, broker_pool_acquire_timeout=2) as app:
        pool: Any = app.database.engine.pool
        assert (pool.size(), pool._timeout) == (3, 2)


# Tasks


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Lavoro("shop")
    assert app.task(add).name == f"{__name__}.add"
    assert app.task(name="x")(add).name == "x"
    assert app.gen_task_name("f", "__main__") == "shop.f"
    main = ModuleType("__main__")
    main.__file__ = "/somewhere/script.py"
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert Lavoro().gen_task_name("f", "__main__") == "script.f"


def test_second_task_of_a_name_is_the_first() -> None:
    app = Lavoro("shop")
    assert app.task(add) is app.task(add)


def test_task_keeps_what_the_function_says() -> None:
    @Lavoro("shop").task(plugin="p", max_retries=9)
    def documented() -> None:
        """What it does."""

    task: Any = documented
    assert (task.__doc__, task.__name__, task.__module__) == ("What it does.", "documented", __name__)
    assert (task.plugin, task.max_retries, task.__wrapped__.__name__) == ("p", 9, "documented")


def test_task_shows_what_a_call_may_give() -> None:
    app = Lavoro("shop")

    @functools.wraps(add)
    def wrapped(*args: Any, **kwargs: Any) -> int:
        return add(*args, **kwargs)

    def bound(self: Task[..., Any], x: int, y: int = 0) -> int:
        """Add."""
        return x + y

    shown: Any = inspect.signature(add)
    for number, (function, bind) in enumerate(((add, False), (wrapped, False), (bound, True))):
        for task in (
            app.task(name=f"a{number}", bind=bind)(function), shared_task(name=f"s{number}", bind=bind)(function)
        ):  # fmt: skip
            assert inspect.signature(task) == shown
            inner = task.__wrapped__.__func__ if bind else task.__wrapped__
            assert inspect.unwrap(inner) is inspect.unwrap(function)
            assert inner is function
        current.shared.pop()


def test_a_decorator_may_add_and_take_arguments(rows: Rows, app: Lavoro) -> None:
    def with_session(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, times: int, **kwargs: Any) -> Any:
            return [function("session", *args, **kwargs)] * times

        return wrapper

    @app.task
    @with_session
    def load(session: str, user: int) -> str:
        return f"{session} {user}"

    @app.task(bind=True)
    @with_session
    def bound(session: str, self: Task[..., Any], user: int) -> str:
        return f"{session} {user} {self.name}"

    for task in (load, bound):
        task.delay(5, times=2)
        with pytest.raises(TypeError, match="missing a required.*argument: 'times'"):
            task.delay(5)
    assert [(row["args"], row["kwargs"]) for row in rows()] == [([5], {"times": 2})] * 2
    app.conf.task_always_eager = True
    assert load.delay(5, times=2).get() == ["session 5"] * 2
    assert bound.delay(5, times=1).get() == [f"session 5 {bound.name}"]


class Adder:
    """An object that is called."""

    def __init__(self, more: int) -> None:
        self.more = more

    def __call__(self, x: int) -> int:
        """Add."""
        return x + self.more


class Namer(Adder):
    """The same with the task."""

    def __call__(self, task: Any, x: int) -> str:  # type: ignore[override]
        """Name."""
        return f"{task.name} {x + self.more}"


@pytest.mark.parametrize(
    ("made", "bind", "found"),
    [
        (functools.partial(add, y=5), False, 6),
        (functools.partial(add, 5), False, 6),
        (functools.partial(lambda self, x, y: f"{self.name} {x + y}", y=5), True, "made 6"),
        (Adder(5), False, 6),
        (Namer(5), True, "made 6"),
        (Adder(5).__call__, False, 6),
        (Namer(5).__call__, True, "made 6"),
        (functools.partial(functools.partial(Adder(5)), 1), False, 6),
        (abs, False, 1),
    ],
)
def test_whatever_can_be_called_can_be_a_task(made: Any, bind: bool, found: Any) -> None:
    app = Lavoro("shop", task_always_eager=True)
    task = app.task(name="made", bind=bind)(made)
    args = () if isinstance(made, functools.partial) and made.args == (1,) else (1,)
    assert task.delay(*args).get() == found
    assert app.task(name="made", bind=bind)(made) is task
    shared = shared_task(name="shared.made", bind=bind)(made)
    assert shared.delay(*args).get() in (found, "shared.made 6")
    current.shared.pop()


@pytest.mark.parametrize("made", [functools.partial(add, 1), Adder(1)])
def test_what_has_no_name_must_be_given_one(made: Any) -> None:
    with pytest.raises(TypeError, match="objects have no name: give the task one, name="):
        Lavoro("shop").task(made)


def test_a_task_is_made_from_a_callable() -> None:
    for given in ("mail", 5):
        for decorator in (Lavoro("shop").task, Lavoro("shop").task(name="x")):
            with pytest.raises(TypeError, match="a task is made from a callable, not from"):
                decorator(given)


def test_unknown_task() -> None:
    with pytest.raises(NotRegistered, match="'nope' is not registered"):
        Lavoro("shop").tasks["nope"]


def test_attributes_come_from_the_settings_until_they_are_given() -> None:
    app = Lavoro("shop")
    task, own = app.task(name="a")(add), app.task(name="b", acks_late=True, time_limit=3)(add)
    app.conf.update(task_acks_late=False, task_time_limit=60, task_serializer="pickle")
    assert (task.acks_late, task.time_limit, task.serializer) == (False, 60, "pickle")
    assert (own.acks_late, own.time_limit) == (True, 3)
    task.__settle__()
    app.conf.task_time_limit = 90
    assert task.time_limit == 60


def test_annotations_change_tasks_in_the_worker() -> None:
    app = Lavoro("shop", task_annotations={"*": {"rate_limit": "1/s"}, "a": {"time_limit": 7}})
    task, other = app.task(name="a")(add), app.task(name="b")(add)
    task.annotate()
    other.annotate()
    assert (task.rate_limit, task.time_limit) == ("1/s", 7)
    assert (other.rate_limit, other.time_limit) == ("1/s", None)


def test_base_class_may_be_replaced_before_and_after() -> None:
    app = Lavoro("shop", task_always_eager=True)
    before = app.task(name="before")(add)

    class ContextTask(app.Task):  # type: ignore[name-defined,misc]
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.run(*args, **kwargs) * 10

    app.Task = ContextTask
    after = app.task(name="after")(add)
    assert (before(1), after(1), before.delay(1).get(), after.delay(1).get()) == (10, 10, 10, 10)


def test_base_class_by_its_path() -> None:
    app = Lavoro("shop", task_cls="tests.api.test_app:PathTask")
    assert isinstance(app.task(add), PathTask)


class PathTask(Task[..., Any]):
    """Named by its path in a test."""


@pytest.mark.parametrize("base", [PathTask, "tests.api.test_app:PathTask"])
def test_base_class_that_a_subclass_of_the_application_names(base: Any) -> None:
    class Own(Lavoro):
        task_cls = base

    class OtherTask(Task[..., Any]):
        pass

    assert isinstance(Own("own").task(add), PathTask)
    assert type(Own("given", task_cls=OtherTask).task(add)).__mro__[2] is OtherTask


def test_application_with_its_own_ways() -> None:
    class Own(Lavoro):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.prefix = "own"

        def gen_task_name(self, name: str, module: str) -> str:
            return f"{self.prefix}.{name}"

        def on_init(self) -> None:
            self.began = True

    shared_task(name=None)(add)
    app = Own("own")
    assert app.began
    assert app.task(add).name == "own.add"
    assert "own.add" in app.tasks


# Which application is current


def test_shared_task_belongs_to_whichever_application_is_current(rows: Rows, app: Lavoro) -> None:
    @shared_task(name="shared.add", queue="shared")
    def shared(x: int) -> int:
        """Shared."""
        return x

    other = Lavoro("other", set_as_current=False, task_always_eager=True)
    shared.delay(1)
    assert [(row["name"], row["queue"]) for row in rows()] == [("shared.add", "shared")]
    other.set_current()
    assert shared.delay(1).get() == 1
    assert len(rows()) == 1
    assert app.tasks["shared.add"] is not other.tasks["shared.add"]
    assert isinstance(shared, Task)
    assert (shared.__name__, shared.__doc__, shared(5)) == ("shared", "Shared.", 5)


def test_bare_and_bound_shared_tasks() -> None:
    Lavoro("shop", task_always_eager=True)

    @shared_task
    def bare(x: int) -> int:
        return x

    @shared_task(bind=True)
    def bound(self: Task[..., Any], x: int) -> str:
        return f"{self.name} {x}"

    assert bare.delay(1).get() == 1
    assert bound.delay(1).get() == f"{__name__}.bound 1"


def test_shared_task_twice_is_refused() -> None:
    with pytest.raises(TypeError, match="more than once"):
        shared_task(name="twice")(shared_task(add))


def test_shared_task_of_an_applications_task_is_that_task_there_and_a_copy_elsewhere() -> None:
    def double(self: Any, x: int) -> int:
        return 2 * x

    with Lavoro("one", task_always_eager=True, set_as_current=False) as one:
        own = one.task(bind=True, name="double", queue="own")(double)
        shared: Any = shared_task(own)
        one.set_current()
        assert shared._lookup() is own
        assert shared.delay(2).get() == 4
        with Lavoro("two", task_always_eager=True) as two:
            assert (shared.app, shared.name, shared.queue) == (two, "double", "own")
            assert shared.delay(3).get() == 6


def test_shared_tasks_may_be_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    Lavoro("shop")
    shared: Any = shared_task(name="patched")(add)
    with monkeypatch.context() as patch:
        patch.setattr(shared, "delay", lambda *args: args)
        assert shared.delay(1) == (1,)
    assert "delay" not in vars(shared._lookup())


def test_applications_are_not_kept_alive_by_shared_tasks() -> None:
    shared = shared_task(name="kept")(add)
    app = Lavoro("short-lived", task_always_eager=True)
    assert shared.delay(1).get() == 1
    gone = weakref.ref(app)
    current.forget(app)
    del app
    gc.collect()
    assert gone() is None


def test_current_application_of_threads() -> None:
    first, second = Lavoro("first"), Lavoro("second")
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(current.get()))
    thread.start()
    thread.join()
    assert seen == [first]
    assert current_app == second
    second.set_default()
    assert AsyncResult("x").app is second
    second.close()
    assert not current_task


def test_framework_may_say_which_application_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    framework, other = Lavoro("framework", set_as_current=False), Lavoro("other")
    answers: list[Any] = [framework, None]
    monkeypatch.setattr(current, "finders", [answers.pop])
    assert current.get() is other
    assert current.get() is framework


def test_application_is_made_where_there_is_none() -> None:
    assert current.get_existing() is None
    assert current_app.main == "default"


DOORS: dict[str, Callable[[], Any]] = {
    "shared task": lambda: shared_task(name="door")(add).delay(1),
    "many": lambda: shared_task(name="door")(add).delay_many([(1,)]),
    "state": lambda: AsyncResult(str(uuid.uuid4())).state,
    "get": lambda: AsyncResult(str(uuid.uuid4())).get(timeout=1),
    "forget": lambda: AsyncResult(str(uuid.uuid4())).forget(),
    "send_task": lambda: current_app.send_task("door"),
    "revoke": lambda: current_app.revoke(str(uuid.uuid4())),
    "database_url": lambda: current_app.database_url,
}


@pytest.mark.parametrize("door", DOORS)
def test_no_database_is_made_up_for_an_application_that_nobody_made(
    door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LAVORO_DATABASE_URL", "DATABASE_URL", "LAVORO_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(current, "missing_because", current.NONE_MADE)
    with pytest.raises(ImproperlyConfigured, match=r"no application was made in this process.*LAVORO_DATABASE_URL"):
        DOORS[door]()
    assert list(tmp_path.iterdir()) == []


def test_an_application_that_is_not_current_is_said_so(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("LAVORO_DATABASE_URL", "DATABASE_URL", "LAVORO_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    Lavoro("aside", broker=migrated_url, set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="Lavoro aside> was made with set_as_current=False.*set_default"):
        AsyncResult("x").state  # noqa: B018
    Lavoro("shop", broker=migrated_url).close()
    with pytest.raises(ImproperlyConfigured, match="Lavoro shop> was closed.*LAVORO_DATABASE_URL"):
        AsyncResult("x").state  # noqa: B018


def test_configured_database_serves_where_no_application_was_made(
    migrated_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAVORO_DATABASE_URL", migrated_url)
    shared_task(name="door")(add).delay(1)
    assert [row["name"] for row in rows()] == ["door"]
    current_app.close()


def test_results_may_be_compared_copied_and_stored_in_json() -> None:
    app = Lavoro("shop")
    result = AsyncResult("id", app=app)
    assert result == AsyncResult("id", app=app) == "id"
    assert len({result, AsyncResult("id", app=app)}) == 1
    assert (str(result), repr(result), result.task_id) == ("id", "<AsyncResult: id>", "id")
    assert pickle.loads(pickle.dumps(result)) == result
    with pytest.raises(ValueError, match="requires valid id"):
        AsyncResult(None)  # type: ignore[arg-type]


def test_time_zone_is_assigned_by_name_and_may_be_deleted() -> None:
    with Lavoro("zone") as app:
        app.timezone = "Europe/Paris"
        assert app.now().tzname() in ("CET", "CEST")
        app.conf.timezone = "Asia/Tokyo"
        del app.timezone  # Celery keeps the first answer until then
        assert app.now().tzname() == "JST"


def test_application_takes_a_type_in_annotations() -> None:
    assert typing.get_args(Lavoro[Task]) == (Task,)
