"""`push_request`, `Context`, and a request outside of a run."""

from celery import Celery, current_task
from celery.app.task import Context
from record import attempt

POOLS = ()
app = Celery("calls_context")

FIELDS = (
    "args kwargs id task retries delivery_info is_eager called_directly root_id parent_id"
    " correlation_id group group_index chain chord callbacks errbacks eta expires headers hostname"
    " ignore_result timelimit utc reply_to origin shadow taskset replaced_task_nesting"
    " stamped_headers stamps loglevel logfile children properties"
).split()


@app.task(bind=True)
def show(self):
    return self.request.id, self.request.called_directly, self.request.args


def part_outside():
    request = show.request
    for field in FIELDS:
        attempt(f"outside.{field}", getattr, request, field)
    attempt("outside.unknown", getattr, request, "nothing")
    attempt("outside.get", request.get, "nothing", "default")
    attempt("direct call", show)


def part_pushed():
    pushed = {
        "id": "one",
        "args": (1,),
        "kwargs": {"k": 2},
        "headers": {"a": 1},
        "delivery_info": {"routing_key": "r", "priority": 3},
        "properties": {"p": 1},
        "root_id": "root",
        "parent_id": "parent",
        "correlation_id": "correlation",
        "timelimit": [10, 5],
        "retries": 4,
        "hostname": "there",
        "called_directly": False,
        "eta": "2030-01-01T00:00:00+00:00",
        "expires": "2030-01-01T00:00:00+00:00",
        "tenant": "x",
        "group": "g",
        "reply_to": "r",
        "is_eager": True,
        "ignore_result": True,
        "children": [],
        "loglevel": 20,
        "logfile": "f",
    }
    for field, value in pushed.items():
        attempt(f"push {field}", show.push_request, **{field: value})
    for _ in pushed:
        show.pop_request()
    show.push_request(**pushed)
    for field in pushed:
        attempt(f"pushed.{field}", getattr, show.request, field)
    attempt("pushed.run", show.run)
    attempt("pushed.call", show)
    show.push_request(id="inner")
    attempt("inner.id", lambda: show.request.id)
    attempt("inner.args", lambda: show.request.args)
    show.pop_request()
    attempt("popped.id", lambda: show.request.id)
    show.pop_request()
    attempt("empty.id", lambda: show.request.id)
    attempt("stack type", lambda: type(show.request_stack).__name__)
    attempt("stack top", lambda: show.request_stack.top)


def part_set():
    show.request.id = "set"
    attempt("set.id", lambda: show.request.id)
    show.request.retries = 3
    attempt("set.retries", lambda: show.request.retries)
    show.request.update(id="updated", tenant="t")
    attempt("updated.id", lambda: (show.request.id, show.request.tenant))
    show.request.clear()
    attempt("cleared.id", lambda: show.request.id)
    attempt("current_task", lambda: bool(current_task))


def part_class():
    context = Context({"id": "a", "args": [1]}, retries=2, own="x")
    attempt("Context.id", lambda: (context.id, context.args, context.retries, context.own))
    attempt("Context.get", lambda: (context.get("own"), context.get("none", 1)))
    attempt("Context.defaults", lambda: (context.kwargs, context.called_directly, context.is_eager, context.headers))
    attempt("Context.children", lambda: context.children)
    attempt("Context.as_execution_options", lambda: sorted(context.as_execution_options()))
    attempt("Context.unknown", lambda: context.nothing)
