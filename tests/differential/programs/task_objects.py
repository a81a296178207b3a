"""Task objects: what they show, are pickled and copied as, how they are patched, registered and annotated."""

import copy
import inspect
import pickle
import typing
from unittest import mock

from celery import Celery, Task, shared_task
from record import attempt, say

POOLS = ()
app = Celery("task_objects")


@app.task(bind=True)
def bound(self, x: int, y: "str" = "a") -> float:
    """Bound doc."""
    return x


@app.task
def plain(x: int, *, key: bool = False) -> str:
    """Plain doc."""
    return str(x)


@shared_task
def shared(a, b=2):
    """Shared doc."""
    return a + b


class Based(Task):
    name = "task_objects.based"

    def run(self, x, y=1):
        return x + y


based = app.register_task(Based())


class Unregistered(Task):
    name = "task_objects.unregistered"

    def run(self, x):
        return x


TASKS = {"bound": bound, "plain": plain, "shared": shared, "based": based}
SHOWN = (
    "__name__", "__doc__", "name", "abstract", "max_retries", "typing", "trail", "ignore_result", "serializer",
    "rate_limit", "priority", "expires", "track_started", "throws", "time_limit", "soft_time_limit",
    "default_retry_delay", "resultrepr_maxsize", "send_events", "store_errors_even_if_ignored",
    "acks_on_failure_or_timeout", "store_eager_result",
)  # fmt: skip


def show(name, task):
    for attribute in SHOWN:
        attempt(f"{name}.{attribute}", getattr, task, attribute)
    attempt(f"{name} app", lambda: task.app is app)
    attempt(f"{name} isinstance", lambda: isinstance(task, Task))
    attempt(f"{name} getdoc", lambda: inspect.getdoc(task))
    attempt(f"{name} getsource of run", lambda: inspect.getsource(task.run).splitlines()[:2])
    attempt(f"{name} kind", lambda: (inspect.isfunction(task), inspect.isroutine(task), callable(task)))
    attempt(f"{name} equal", lambda: (task == app.tasks[task.name], hash(task) == hash(app.tasks[task.name])))
    attempt(f"{name} repr", lambda: repr(task))
    if name != "based":
        attempt(f"{name}.__qualname__", lambda: task.__qualname__)
        attempt(f"{name}.__annotations__", lambda: task.__annotations__)
        attempt(f"{name} hints", typing.get_type_hints, task)
        attempt(f"{name} signature", lambda: str(inspect.signature(task)))
        attempt(f"{name} getsource", lambda: inspect.getsource(task).splitlines()[:2])
        attempt(f"{name} wrapped", lambda: (type(task.__wrapped__).__name__, task.__wrapped__(1)))


def part_names():
    for name, task in TASKS.items():
        show(name, task)


def pack(name, task):
    attempt(f"{name} pickle", lambda: pickle.loads(pickle.dumps(task)) == app.tasks[task.name])
    attempt(f"{name} copy", lambda: copy.copy(task) == task)
    attempt(f"{name} deepcopy", lambda: copy.deepcopy({"task": [task]})["task"] == [task])


def part_pickle():
    for name, task in TASKS.items():
        pack(name, task)
    result = app.AsyncResult("some-id")
    attempt("result", lambda: pickle.loads(pickle.dumps(result)) == result)
    attempt("result copies", lambda: (copy.copy(result) == result, copy.deepcopy(result) == result))
    eager = plain.apply((1,))
    attempt("eager", lambda: pickle.loads(pickle.dumps(eager)).get())
    attempt("eager copies", lambda: (copy.copy(eager).get(), copy.deepcopy(eager).get()))
    attempt("app", lambda: pickle.loads(pickle.dumps(app)).main)
    attempt("app deepcopy", lambda: copy.deepcopy(app).main)


def patch(name, task):
    with mock.patch.object(task, "run", return_value=7) as patched:
        attempt(f"{name} run", lambda: (task(1), task.apply((1,)).get(), patched.call_count))
    with mock.patch.object(task, "delay", return_value=8):
        attempt(f"{name} delay", lambda: task.delay(1))
    with mock.patch.object(task, "apply_async", return_value=9) as patched:
        attempt(f"{name} apply_async", lambda: (task.delay(1), patched.call_args))
    attempt(f"{name} afterwards", lambda: task(1))


def part_patched():
    for name, task in TASKS.items():
        patch(name, task)


def part_classes():
    second, unregistered = Based(), Unregistered()
    attempt("second", lambda: (second is based, second.name, second.app is app, second(1), second.apply((1,)).get()))
    attempt("second delay", lambda: type(second.delay(1)).__name__)
    attempt("unregistered delay", lambda: type(unregistered.delay(1)).__name__)
    attempt("unregistered", lambda: (unregistered(1), unregistered.request.id, unregistered.max_retries))
    attempt("class", lambda: (Based.name, Based.app is app, Based.serializer, Based.ignore_result, Based.time_limit))
    attempt("base", lambda: (Task.name, Task.serializer, Task.ignore_result, Task.time_limit, Task.rate_limit))

    class Unnamed(Task):
        def run(self):
            return 1

    attempt("unnamed", lambda: Unnamed().name)
    attempt("unnamed registered", lambda: (app.register_task(Unnamed()).name, app.register_task(Unnamed).name))

    class Noted(Task):
        made = []

        def __init__(self):
            self.made.append(type(self).__name__)

        def __init_subclass__(cls, **options):
            super().__init_subclass__(**options)
            Noted.made.append(f"class {cls.__name__}")

    @app.task(base=Noted, bind=True)
    def noted(self):
        return self.made

    attempt("noted", lambda: noted())

    class Holder:
        @app.task(name="static")
        def static(x):
            return x

        @app.task(bind=True, name="with_task")
        def with_task(self, x):
            return self.name, x

    attempt("in a class", lambda: (Holder.static(1), Holder().static(1), Holder().with_task(1)))

    @app.task(lazy=False, name="not_lazy")
    def not_lazy():
        return 1

    say("not lazy", "not_lazy" in app.tasks)
    say("filtered", app.task(filter=lambda task: (task.name, "filtered"), name="filtered")(lambda_like))
    attempt("trail", lambda: (plain.add_trail("a result"), plain.trail))


def lambda_like():
    pass


def part_base_class():
    late = Celery("late", set_as_current=False)

    @late.task(name="late.before", shared=False)
    def before():
        return 1

    class Late(late.Task):
        abstract = True

        def __call__(self, *args, **kwargs):
            return "late", self.run(*args, **kwargs)

    late.Task = Late

    @late.task(name="late.after", shared=False)
    def after():
        return 2

    attempt("called", lambda: (before(), after()))
    attempt("is", lambda: (isinstance(before, Late), isinstance(after, Late), late.Task is Late))
    attempt("its app", lambda: (Late.app is late, Late().app is late, Celery("x", set_as_current=False).Task is Task))
    again = Celery("again", set_as_current=False)
    kept = again.task(name="again.kept")(lambda_like)
    attempt("before", lambda: "again.kept" in again.tasks)
    again.__init__("anew", set_as_current=False)
    attempt("anew", lambda: ("again.kept" in again.tasks, again.main, kept.name))


class Annotation:
    def annotate(self, task):
        return {"max_retries": 9} if task.name == "annotated" else None

    def annotate_any(self):
        return {"of_any": 5}


def around(call):
    return lambda self, *args, **kwargs: ("around", call(self, *args, **kwargs))


SETTINGS = {
    "dict": {"annotated": {"max_retries": 7, "rate_limit": "3/s"}, "*": {"max_retries": 8, "time_limit": 5}},
    "list": [{"annotated": {"max_retries": 7}}, {"*": {"max_retries": 6}}],
    "two of a kind": ({"annotated": {"max_retries": 7}}, {"annotated": {"max_retries": 6, "of_any": 1}}),
    "object": Annotation(),
    "objects": (Annotation(), {"*": {"max_retries": 2}}),
    "path": "task_objects.Annotation",
    "around": {"annotated": {"@__call__": around}},
    "handler": {"*": {"on_failure": lambda self, error, *args: say("annotated on_failure", error)}},
}


def part_annotations():
    for name, setting in SETTINGS.items():
        annotate(name, setting)


def annotate(name, setting):
    annotating = Celery("annotating", set_as_current=False)
    annotating.conf.task_annotations = setting

    @annotating.task(name="annotated", shared=False)
    def annotated(x=1):
        return 1 / x

    attempt(f"{name} applied", lambda: annotated.apply().get())
    attempt(f"{name} called", lambda: annotated())
    attempt(f"{name} failed", lambda: annotated.apply((0,)).state)
    shown = ("max_retries", "of_any", "time_limit", "rate_limit")
    attempt(name, lambda: [getattr(annotated, attribute, None) for attribute in shown])
