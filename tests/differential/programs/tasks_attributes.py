"""Attributes of tasks and of the class `Task`; what Python's own tools see of a task."""

import copy
import inspect
import pickle
import typing

from celery import Celery, Task
from record import attempt

POOLS = ()
app = Celery("tasks_attributes")
ATTRIBUTES = (
    "name max_retries default_retry_delay ignore_result queue routing_key exchange priority rate_limit serializer"
    " time_limit soft_time_limit acks_late acks_on_failure_or_timeout reject_on_worker_lost track_started throws"
    " expires store_errors_even_if_ignored store_eager_result typing trail send_events resultrepr_maxsize abstract"
    " compression delivery_mode mandatory immediate from_config"
).split()


@app.task
def plain(x: int, y: int = 2, *args: str, z: float = 1.5, **more: bytes) -> int | None:
    """Words about it."""
    return x + y


@app.task(bind=True, name="other.name", max_retries=7, own_attribute="mine", queue="q", time_limit=5, trail=False)
def bound(self, x: int) -> str:
    return self.name


class Mixin:
    def extra(self):
        return "extra"


class Base(Mixin, Task):
    max_retries = 9
    ignore_result = True
    abstract = True

    @property
    def resource(self):
        return "resource"


@app.task(base=Base)
def based():
    return 1


def final():
    """The task itself, in place of the proxy that Celery's decorator gives."""
    return app.tasks["tasks_attributes.plain"]


def part_plain():
    for name in ATTRIBUTES:
        attempt(f"plain.{name}", lambda name=name: getattr(plain, name))
        attempt(f"Task.{name}", lambda name=name: getattr(Task, name))
    attempt("options", lambda: (bound.max_retries, bound.own_attribute, bound.queue, bound.time_limit, bound.trail))
    attempt("based", lambda: (based.max_retries, based.ignore_result, based.extra(), based.resource, based.abstract))
    attempt("class", lambda: type(final()).__name__)
    attempt("class bases", lambda: [base.__name__ for base in type(based).__mro__][:4])
    attempt("is Task", lambda: (isinstance(plain, Task), isinstance(plain, app.Task), issubclass(app.Task, Task)))
    attempt("class module", lambda: type(final()).__module__)
    attempt("app", lambda: (plain.app is app, bound.app is app))
    attempt("registered", lambda: (app.tasks["tasks_attributes.plain"] == plain, "other.name" in app.tasks))
    attempt("backend", lambda: plain.backend is not None)
    attempt("unknown", lambda: plain.nothing_here)
    attempt("repr", lambda: repr(plain))
    attempt("str", lambda: str(plain))
    attempt("call", lambda: (plain(1), plain(1, y=5), plain.run(3), bound(1), bound.run(1)))


def part_python():
    attempt("__name__", lambda: (plain.__name__, bound.__name__))
    attempt("__qualname__", lambda: plain.__qualname__)
    attempt("__doc__", lambda: plain.__doc__)
    attempt("__module__", lambda: final().__module__)
    attempt("__wrapped__", lambda: plain.__wrapped__.__name__)
    attempt("__wrapped__ call", lambda: plain.__wrapped__(1, 2))
    attempt("__wrapped__ of bound", lambda: bound.__wrapped__.__name__)
    attempt("signature", lambda: str(inspect.signature(plain)))
    attempt("signature of bound", lambda: str(inspect.signature(bound)))
    attempt("signature of run", lambda: (str(inspect.signature(plain.run)), str(inspect.signature(bound.run))))
    attempt("unwrap", lambda: inspect.unwrap(plain).__name__)
    attempt("hints", lambda: sorted(typing.get_type_hints(plain)))
    attempt("hints of run", lambda: sorted(typing.get_type_hints(plain.run)))
    attempt("annotations", lambda: sorted(plain.__annotations__))
    attempt("callable", lambda: (callable(plain), inspect.isfunction(plain), inspect.isroutine(plain)))
    attempt("source", lambda: "return x + y" in inspect.getsource(plain.run))
    attempt("getdoc", lambda: inspect.getdoc(plain))
    attempt("__header__", lambda: plain.__header__(1, 2))
    attempt("__header__ wrong", lambda: plain.__header__())
    attempt("__code__", lambda: plain.__code__.co_name)
    attempt("hash", lambda: hash(plain) == hash(plain))
    attempt("equal", lambda: (plain == app.tasks["tasks_attributes.plain"], plain == bound, plain != bound))


def part_copies():
    attempt("pickle", lambda: pickle.loads(pickle.dumps(plain)) is app.tasks[plain.name])
    attempt("pickle name", lambda: pickle.loads(pickle.dumps(bound)).name)
    attempt("copy", lambda: copy.copy(plain).name)
    attempt("deepcopy", lambda: copy.deepcopy(plain).name)
    attempt("copy of app", lambda: copy.copy(app).main)
    attempt("deepcopy of app", lambda: copy.deepcopy(app).main)
    attempt("pickle app", lambda: pickle.loads(pickle.dumps(app)).main)
    attempt("pickle result", lambda: pickle.loads(pickle.dumps(app.AsyncResult("x"))).id)
    attempt("copy result", lambda: copy.copy(app.AsyncResult("x")).id)
    attempt("deepcopy result", lambda: copy.deepcopy(app.AsyncResult("x")).id)
    attempt("deepcopy in a list", lambda: [one.name for one in copy.deepcopy([plain, bound])])


def part_set():
    plain.rate_limit = "1/s"
    attempt("set", lambda: plain.rate_limit)
    plain.max_retries = 11
    attempt("set max_retries", lambda: plain.max_retries)
    attempt("del", lambda: delattr(plain, "rate_limit"))


def part_methods():
    for name in (
        "delay apply_async apply retry s si signature subtask update_state AsyncResult signature_from_request chunks"
        " map starmap replace add_to_chord send_event add_trail push_request pop_request shadow_name bind on_bound"
        " annotate add_around start_strategy before_start on_success on_retry on_failure after_return on_replace run"
        " _get_request _get_exec_options"
    ).split():
        attempt(f"method {name}", lambda name=name: callable(getattr(plain, name)))
    attempt("shadow_name", lambda: plain.shadow_name((), {}, {}))
    attempt("on_bound", lambda: plain.on_bound(app))
    attempt("add_trail", lambda: plain.add_trail(app.AsyncResult("x")).id)
    attempt("AsyncResult", lambda: plain.AsyncResult("x").id)
    attempt("handlers", lambda: (plain.on_success(1, "i", (), {}), plain.after_return("S", 1, "i", (), {}, None)))
    attempt("update_state outside", lambda: plain.update_state(state="X"))
