"""Class-based tasks, `register_task`, a `__call__` of one's own, and state kept on a task."""

from celery import Celery, Task
from record import attempt, say

app = Celery("tasks_classes")
GET = {"timeout": 30}


class Plain(Task):
    name = "plain"

    def run(self, x):
        say("plain.run", (x, self.request.id is not None))
        return x * 2


class WithInit(Task):
    def __init__(self):
        super().__init__()
        self.made = ["in init"]

    def run(self):
        self.made.append("run")
        return self.made


class Calls(Task):
    abstract = True

    def __call__(self, *args, **kwargs):
        say(f"{self.request.id}.__call__", (args, kwargs))
        return ("called", self.run(*args, **kwargs))


class Supers(Task):
    abstract = True

    def __call__(self, *args, **kwargs):
        say(f"{self.request.id}.super", type(self).__name__)
        return super().__call__(*args, **kwargs)


class Retries(Task):
    name = "retries"
    autoretry_for = (KeyError,)
    retry_kwargs = {"max_retries": 1, "countdown": 0}

    def run(self):
        say("retries.run", self.request.retries)
        raise KeyError("again")


plain = app.register_task(Plain())
by_class = app.register_task(WithInit)
retries = app.register_task(Retries())


class Nameless(app.Task):
    def run(self):
        return "nameless"


nameless = app.register_task(Nameless())


class Unregistered(app.Task):
    name = "unregistered"

    def run(self):
        return "unregistered"


@app.task(base=Calls, bind=True)
def calls(self, x):
    return x


@app.task(base=Supers, bind=True)
def supers(self, x):
    return x, self.request.id, self.request.called_directly


@app.task(bind=True)
def counts(self):
    self.count = getattr(self, "count", 0) + 1
    return self.count


def part_client():
    say("names", sorted(name for name in app.tasks if not name.startswith("celery.")))
    say("types", (type(plain).__name__, type(by_class).__name__, type(nameless).__name__))
    attempt("direct", lambda: plain(3))
    attempt("direct init", lambda: by_class())
    attempt("direct calls", lambda: calls(3))
    attempt("instance name", lambda: (Plain().name, Nameless().name, Nameless.name))
    attempt("second instance name", lambda: Plain().apply((2,)).get())
    attempt("unregistered apply", lambda: Unregistered().apply().get())
    attempt("apply of calls", lambda: calls.apply((4,), task_id="applied").get())
    attempt("register twice", lambda: app.register_task(Plain()).name)
    attempt("register function", lambda: app.register_task(lambda: None))
    attempt("no run", lambda: app.register_task(type("NoRun", (Task,), {"name": "no run"})()).run())


def part_worker():
    attempt("plain", plain.apply_async((3,), task_id="plain").get, **GET)
    attempt("second instance", Plain().apply_async((4,), task_id="second").get, **GET)
    attempt("second delay", Plain().delay(5).get, **GET)
    attempt("by class", by_class.delay().get, **GET)
    attempt("nameless", nameless.delay().get, **GET)
    attempt("calls", calls.apply_async((1,), task_id="calls").get, **GET)
    attempt("supers", supers.apply_async((1,), task_id="supers").get, **GET)
    attempt("retries", retries.apply_async(task_id="retries").get, **GET)
    attempt("counts", lambda: [counts.delay().get(**GET) >= 1 for _ in range(3)])


def part_unregistered():
    attempt("unregistered delay", lambda: type(Unregistered().delay()).__name__)
