"""Task objects: what they show of their function, copies of them, classes that nobody registered, annotations."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from lavoro import Lavoro, Task, shared_task
from lavoro.exceptions import NotRegistered
from lavoro.runtime import current_app


@pytest.fixture
def app() -> Iterator[Lavoro]:
    """The current application, without a database."""
    app = Lavoro("shop")
    yield app
    app.close()


def add(x: int, y: str = "a") -> float:
    """Add them."""
    return x


def bound(self: Any, x: int) -> tuple[str, int]:
    """Tell who runs."""
    return self.name, x


class Based(Task[..., Any]):
    name = "based"

    def run(self, x: int) -> int:
        return x + 1


def test_a_task_shows_its_function(app: Lavoro) -> None:
    task: Any = app.task(add)
    assert task.__qualname__ == "add"
    assert typing.get_type_hints(task) == {"x": int, "y": str, "return": float}
    assert str(inspect.signature(task)) == "(x: 'int', y: 'str' = 'a') -> 'float'"
    assert inspect.getdoc(task) == "Add them."
    assert inspect.getsource(task).startswith("def add(")
    assert repr(task) == f"<@task: {__name__}.add of shop at {id(app):#x}>"


def test_what_a_bound_task_wraps_has_it_as_first_argument(app: Lavoro) -> None:
    task: Any = app.task(bind=True, name="bound")(bound)
    assert task.__wrapped__(3) == ("bound", 3)
    assert task.__wrapped__.__func__ is bound
    assert str(inspect.signature(task)) == "(x: 'int') -> 'tuple[str, int]'"
    assert inspect.getsource(task).startswith("def bound(")


def test_annotations_that_only_type_checkers_know(app: Lavoro) -> None:
    source: dict[str, Any] = {}
    exec("from __future__ import annotations\ndef f(x: Unknown) -> None: ...", source)
    source["f"].__module__ = __name__
    task: Any = app.task(name="f")(source["f"])
    assert task.__annotations__ == {"x": "Unknown", "return": "None"}


@pytest.mark.parametrize("make", [
    lambda app: app.task(add), lambda app: app.task(bind=True, name="bound")(bound),
    lambda app: app.register_task(Based()), lambda app: shared_task(name="shared")(add),
])  # fmt: skip
def test_a_task_is_pickled_by_its_name_and_copied_as_itself(app: Lavoro, make: Callable[[Lavoro], Any]) -> None:
    task = make(app)
    assert pickle.loads(pickle.dumps(task)) is app.tasks[task.name]
    assert copy.copy(task) is task
    assert copy.deepcopy({"task": [task]})["task"][0] is task


def test_a_pickled_task_is_that_of_the_current_application(app: Lavoro) -> None:
    pickled = pickle.dumps(app.register_task(Based()))
    with Lavoro("other") as other:
        with pytest.raises(NotRegistered):
            pickle.loads(pickled)
        task = other.register_task(Based())
        assert pickle.loads(pickled) is task


def test_a_pickled_application_has_the_settings(app: Lavoro) -> None:
    app.conf.task_default_queue = "shop"
    for made in (pickle.loads(pickle.dumps(app)), copy.deepcopy(app)):
        assert (made.main, made.conf.task_default_queue, made is app) == ("shop", "shop", False)
    assert current_app.get() is app


def test_a_second_object_of_a_class_has_the_application_of_the_first(app: Lavoro) -> None:
    app.register_task(Based())
    with Lavoro("other"):
        second = Based()
        assert second.app is app
        assert second.apply((1,)).get() == 2
        assert app.register_task(second) is app.tasks["based"]


def test_a_class_that_nobody_registered_belongs_to_the_current_application(app: Lavoro) -> None:
    class Unregistered(Task[..., Any]):
        def run(self, x: int) -> int:
            return x

    assert Unregistered.serializer is None
    task = Unregistered()
    app.conf.task_always_eager = True
    assert task.delay(2).get() == 2
    assert (task.name, task.app, Unregistered.app) == (f"{__name__}.Unregistered", app, app)
    assert Unregistered.serializer == "json"
    assert task.name not in app.tasks


def test_a_class_without_run_says_so(app: Lavoro) -> None:
    class Empty(Task[..., Any]):
        name = "empty"

    with pytest.raises(NotImplementedError, match=r"^Tasks must define the run method\. empty has none$"):
        app.register_task(Empty())()


def test_the_base_class_of_an_application_is_bound_to_it(app: Lavoro) -> None:
    with Lavoro("other") as other:

        class Own(app.Task):  # type: ignore[name-defined,misc]
            name = "own"

            def run(self) -> str:
                return str(self.app.main)

        assert current_app.get() is other
        assert Own()() == "shop"
        assert [cls.__name__ for cls in Own.__mro__[:3]] == ["Own", "Task", "Task"]


def test_options_of_register_task_are_attributes(app: Lavoro) -> None:
    task = app.register_task(Based(), autoretry_for=(OSError,), max_retries=1)
    assert (task.autoretry_for, task.max_retries) == ((OSError,), 1)


def test_a_task_has_its_function_without_retries(app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    task = app.task(name="add", autoretry_for=(OSError,))(add)
    assert task._orig_run(3) == task.run(3) == 3
    monkeypatch.setattr(task, "_orig_run", lambda x: "replaced")
    assert task.run(3) == "replaced"
    assert not hasattr(app.task(name="plain")(add), "_orig_run")


def test_a_filter_gets_the_task(app: Lavoro) -> None:
    assert app.task(filter=lambda task: (task.name, "filtered"), name="add")(add) == ("add", "filtered")
    assert "add" in app.tasks


def test_an_application_that_is_made_anew_keeps_its_tasks(app: Lavoro) -> None:
    task = app.task(name="add")(add)
    app.__init__("anew")  # type: ignore[misc]
    assert app.tasks["add"] is task
    assert app.main == "anew"


@pytest.mark.parametrize("trail", [True, False])
def test_without_a_trail_no_children_are_kept(app: Lavoro, trail: bool) -> None:
    @app.task(bind=True, name="parent", trail=trail)
    def parent(self: Any) -> list[Any]:
        result = app.AsyncResult("a")
        assert self.add_trail(result) is result
        return [child.id for child in self.request.children]

    assert parent.apply().get() == (["a"] if trail else [])


def test_a_patched_run_is_called(app: Lavoro) -> None:
    task = app.task(name="add")(add)
    with mock.patch.object(task, "run", return_value=7) as run:
        assert (task(1), task.apply((1,)).get(), run.call_count) == (7, 7, 2)
    assert task(1) == 1


# Annotations


class Annotation:
    """What a setting may name by its path."""

    def annotate(self, task: Any) -> dict[str, Any] | None:
        """Return the attributes of one task."""
        return {"max_retries": 9} if task.name == "add" else None

    def annotate_any(self) -> dict[str, Any]:
        """Return the attributes of all tasks."""
        return {"of_any": 5}


@pytest.mark.parametrize(("given", "retries", "of_any"), [
    ({"add": {"max_retries": 7}, "*": {"max_retries": 8}}, 8, None),
    ([{"add": {"max_retries": 7}}, {"*": {"of_any": 6}}], 7, 6),
    (({"add": {"max_retries": 7}}, {"add": {"max_retries": 6, "of_any": 1}}), 7, None),
    ((Annotation(), {"*": {"max_retries": 2}}), 9, 5),
    (f"{__name__}.Annotation", 9, 5),
    ({"other": {"max_retries": 1}}, 3, None),
])  # fmt: skip
@pytest.mark.parametrize("late", [False, True])
def test_annotations_hold_for_the_caller(app: Lavoro, given: Any, retries: int, of_any: Any, late: bool) -> None:
    """Also of a task that is made after the first one was used."""
    app.conf.task_annotations = given
    if late:
        app.finalize()
    task: Any = app.task(name="add")(add)
    assert task.apply((1,)).get() == 1
    assert (task.max_retries, getattr(task, "of_any", None)) == (retries, of_any)


def test_an_annotation_may_stand_around_a_method(app: Lavoro) -> None:
    def around(call: Any) -> Any:
        return lambda self, *args: ("around", call(self, *args))

    app.conf.task_annotations = {"add": {"@__call__": around}}
    task: Any = app.task(name="add")(add)
    assert task.apply((1,)).get() == ("around", 1)
    assert task(2) == ("around", 2)
    task.annotate()
    assert task(2) == ("around", 2)


def test_an_annotation_may_be_a_handler(app: Lavoro) -> None:
    told: list[Any] = []
    app.conf.task_annotations = {"*": {"on_failure": lambda self, error, *_: told.append((self.name, error.args))}}

    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("no")

    assert fail.apply().state == "FAILURE"
    assert told == [("fail", ("no",))]


@pytest.mark.parametrize("name", [
    "own", "models", "handlers", "definition", "bound", "entry", "settle", "shown", "form", "call_options",
])  # fmt: skip
def test_attributes_of_ones_own_are_in_nobodys_way(app: Lavoro, name: str) -> None:
    app.conf.task_always_eager = True
    options: dict[str, Any] = {name: ["x"]}
    decorated: Any = app.task(name="add", **options)(add)
    written = app.register_task(type("Own", (Based,), {"name": "own", name: ["x"]}))
    for task, answer in ((decorated, 1), (written, 2)):
        assert getattr(task, name) == ["x"]
        assert task.delay(1).get() == answer


class Changed(Task[..., Any]):
    """Its first call sets an attribute while its message is built, as another thread may."""

    abstract = True

    @property
    def acks_late(self) -> bool:  # type: ignore[override]
        """An option that is read late."""
        if self.priority is None:
            self.priority = 5
        return True


def test_an_attribute_that_is_set_while_a_call_is_built_holds_for_the_next(app: Lavoro) -> None:
    task = app.task(name="changed", base=Changed)(add)
    builders = [app.site.builders.usual(task) for _ in range(3)]
    assert [builder and builder.priority for builder in builders] == [0, 5, 5]
    assert builders[1] is builders[2]
