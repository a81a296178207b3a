"""`@app.resource`: made once in each process, handed to tasks, closed at the end."""

from __future__ import annotations

import atexit
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from lavoro import Lavoro, given, shared_task
from lavoro.definition import resources as module
from lavoro.exceptions import ImproperlyConfigured, LavoroError
from lavoro.runtime import slow
from lavoro.testing import worker


class Letter(BaseModel):
    """An argument."""

    address: str


class Mailer:
    """What a resource makes here; notes what happens to it."""

    def __init__(self, host: str = "smtp") -> None:
        self.host, self.sent, self.closed = host, [], False

    def send(self, address: str) -> str:
        assert not self.closed
        self.sent.append(address)
        return f"{self.host}:{address}"


@pytest.fixture
def app() -> Iterator[Lavoro]:
    """An application of each test's own, without a database."""
    made = Lavoro("resources", set_as_current=False)
    yield made
    made.close()


def mailer_of(app: Lavoro, name: str = "mailer") -> Any:
    """Define a resource; `made` lists what it has made."""
    made: list[Mailer] = []

    @app.resource(name=name)
    def resource() -> Iterator[Mailer]:
        made.append(Mailer())
        yield made[-1]
        made[-1].closed = True

    vars(resource)["made"] = made
    return resource


# Where a task gets it


def by_name(app: Lavoro) -> Any:
    @app.task
    def send(address, mailer):  # type: ignore[no-untyped-def]
        return mailer.send(address)

    return send


def first_by_name(app: Lavoro) -> Any:
    @app.task
    def send(mailer, address):  # type: ignore[no-untyped-def]
        return mailer.send(address)

    return send


def by_keyword_alone(app: Lavoro) -> Any:
    @app.task
    def send(address: str, *, mailer: Any) -> Any:
        return mailer.send(address)

    return send


def by_annotation(app: Lavoro) -> Any:
    @app.task
    def send(post: Mailer, address: str) -> Any:
        return post.send(address)

    return send


def by_annotation_beside_none(app: Lavoro) -> Any:
    @app.task
    def send(address: str, post: Mailer | None = None) -> Any:
        assert post is not None
        return post.send(address)

    return send


def by_default(app: Lavoro) -> Any:
    @app.task
    def send(address: str, mailer: Mailer = given) -> Any:
        return mailer.send(address)

    return send


def bound(app: Lavoro) -> Any:
    @app.task(bind=True, autoretry_for=(OSError,))
    def send(self: Any, mailer: Mailer, address: str) -> Any:
        assert self.name.endswith("send")
        return mailer.send(address)

    return send


def of_a_class(app: Lavoro) -> Any:
    class Send(app.Task):  # type: ignore[misc,name-defined]
        name = "send"

        def run(self, address: str, mailer: Mailer) -> Any:
            return mailer.send(address)

    return app.register_task(Send())


def with_a_call_of_its_own(app: Lavoro) -> Any:
    class Calling(app.Task):  # type: ignore[misc,name-defined]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    @app.task(base=Calling)
    def send(address: str, mailer: Mailer) -> Any:
        return mailer.send(address)

    return send


def shared(app: Lavoro) -> Any:
    @shared_task(name=f"shared.{id(app)}")
    def send(address: str, mailer: Mailer) -> Any:
        return mailer.send(address)

    return app.tasks[f"shared.{id(app)}"]


FORMS = [
    by_name, first_by_name, by_keyword_alone, by_annotation, by_annotation_beside_none, by_default, bound, of_a_class,
    with_a_call_of_its_own, shared,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("late", [False, True])
def test_a_task_gets_it_however_it_is_run(app: Lavoro, form: Callable[[Lavoro], Any], *, late: bool) -> None:
    resource = None if late else mailer_of(app)
    task = form(app)
    resource = resource or mailer_of(app)
    assert resource.made == []
    assert task("a") == "smtp:a"
    assert task(address="b") == "smtp:b"
    assert task.apply(("c",)).get() == "smtp:c"
    assert task.apply((), {"address": "d"}).get() == "smtp:d"
    app.conf.task_always_eager = True
    assert task.delay("e").get(disable_sync_subtasks=False) == "smtp:e"
    (made,) = resource.made
    assert made.sent == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("form", [*FORMS[:-3], with_a_call_of_its_own])
def test_it_is_no_part_of_a_call(app: Lavoro, form: Callable[[Lavoro], Any]) -> None:
    mailer_of(app)
    task = form(app)
    assert list(inspect.signature(task).parameters) == ["address"]
    assert list(inspect.signature(task.run).parameters) == ["address"]
    (name,) = task.__handed__.names
    with pytest.raises(TypeError, match=rf"the worker gives '{name}', which is a resource"):
        task.delay(address="a", **{name: 5})
    with pytest.raises(TypeError, match="too many positional"):
        task.delay("a", 5)
    with pytest.raises(TypeError, match="'address'"):
        task.delay()
    with pytest.raises(TypeError, match="'address'"):
        task.delay_many([()])


def test_a_direct_call_may_give_another(app: Lavoro) -> None:
    resource, task, other = mailer_of(app), by_name(app), Mailer("other")
    assert task("a", other) == task("a", mailer=other) == "other:a"
    assert resource.made == []


def test_a_task_with_any_positional_arguments(app: Lavoro) -> None:
    mailer_of(app)

    @app.task
    def send(first: str, mailer: Mailer, *more: str) -> list[str]:
        return [mailer.send(address) for address in (first, *more)]

    assert send("a", "b", "c") == ["smtp:a", "smtp:b", "smtp:c"]
    assert send.__arguments__.names == ("first",)


def test_annotations_of_plain_data_name_no_resource(app: Lavoro) -> None:
    @app.resource
    def words() -> Iterator[dict[str, str]]:
        yield {}

    @app.resource
    def numbers() -> Iterator[list]:  # type: ignore[type-arg]
        yield []

    @app.task
    def count(given_words: dict[str, str], given_numbers: list) -> int:  # type: ignore[type-arg]
        return len(given_words) + len(given_numbers)

    assert count({"a": "b"}, [1]) == 2


def test_two_resources_of_one_class_need_their_names(app: Lavoro) -> None:
    first, second = mailer_of(app, "first"), mailer_of(app, "second")

    def both(second: Mailer, other: Mailer) -> list[Mailer]:
        return [second, other]

    both.__annotations__["other"] = Annotated[Mailer, first]
    send = app.task(both)
    assert send() == [second.get(), first.get()]
    with pytest.raises(
        ImproperlyConfigured, match=r"'mailer' of .*send is a Mailer, which .* 'first' and 'second' make"
    ):
        by_default(app)


def test_an_annotation_that_comes_later(app: Lavoro) -> None:
    mailer_of(app)
    names: dict[str, Any] = {"app": app, "__name__": "made"}
    text = (
        "from __future__ import annotations\n@app.task\ndef send(address: str, post: Post): return post.send(address)\n"
    )
    exec(compile(text, "made.py", "exec"), names)
    names["Post"] = Mailer
    assert app.tasks["made.send"]("a") == "smtp:a"  # the first use of the tasks looks again


def test_a_class_that_is_named_as_a_text_and_defined_later(app: Lavoro) -> None:
    names: dict[str, Any] = {"app": app, "Iterator": Iterator, "__name__": "made"}
    exec("@app.resource\ndef post() -> Iterator['Post']: yield Post('later')", names)
    names["Post"] = Mailer
    task = by_default(app)
    assert task("a") == "later:a"


def test_models_of_pydantic_beside_a_resource(app: Lavoro) -> None:
    mailer_of(app)

    @app.task(pydantic=True)
    def send(mailer: Mailer, letter: Letter) -> str:
        return mailer.send(letter.address)

    assert send.__plain__((Letter(address="a"),), {}, {}) == ([{"address": "a"}], {})
    assert send.apply((Letter(address="a"),)).get() == "smtp:a"


# Its life


def test_it_is_made_once_and_closed_in_reverse_order(app: Lavoro) -> None:
    events = []

    def noted(name: str, *uses: str) -> None:
        parameters = ", ".join(uses)
        names = {"events": events}
        note = "events.append('{} {}')"
        exec(
            f"def {name}({parameters}):\n {note.format('make', name)}\n yield '{name}'\n {note.format('close', name)}",
            names,
        )
        app.resource(names[name])

    noted("client", "engine", "token")
    noted("engine")
    noted("token")

    @app.task
    def use(client, token):  # type: ignore[no-untyped-def]
        return client, token

    assert use() == use() == ("client", "token")
    app.close()
    order = ["engine", "token", "client"]
    assert events == [*(f"make {name}" for name in order), *(f"close {name}" for name in reversed(order))]
    assert use() == ("client", "token")  # a process that goes on makes them again


def test_a_use_of_itself_is_refused(app: Lavoro) -> None:
    @app.resource
    def one(two):  # type: ignore[no-untyped-def]
        yield 1

    @app.resource
    def two(one):  # type: ignore[no-untyped-def]
        yield 2

    with pytest.raises(ImproperlyConfigured, match="use each other in a circle: one -> two -> one"):
        one.get()
    with pytest.raises(ImproperlyConfigured, match="circle: one -> two -> one"):
        app.resources.check((), ())


@pytest.mark.parametrize("wrong", [lambda: None, Mailer, "text"])
def test_only_a_generator_function_makes_one(app: Lavoro, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"made by a generator function \(with one yield\), not by"):
        app.resource(wrong)


def test_an_async_generator_is_refused(app: Lavoro) -> None:
    async def wrong():  # type: ignore[no-untyped-def]
        yield 1

    with pytest.raises(TypeError, match="made by a generator function"):
        app.resource(wrong)


def test_two_of_one_name_are_refused_and_the_same_twice_is_one(app: Lavoro) -> None:
    def client() -> Iterator[int]:
        yield 1

    assert app.resource(client) is app.resource(client)
    with pytest.raises(ImproperlyConfigured, match=r"two resources have the name 'client': .*test_resources.py, line"):
        mailer_of(app, "client")


def test_an_error_names_the_resource_and_the_line(app: Lavoro) -> None:
    @app.resource
    def broken() -> Iterator[int]:
        raise ConnectionRefusedError("no server")
        yield 1

    @app.resource
    def empty() -> Iterator[int]:
        if os.environ.get("NOTHING"):
            yield 1

    @app.task(autoretry_for=(LavoroError,), max_retries=1, default_retry_delay=0)
    def use(broken: int) -> None: ...

    wanted = (
        r"^the resource 'broken' cannot be made: ConnectionRefusedError: no server \(.*test_resources.py, line \d+\)$"
    )
    with pytest.raises(LavoroError, match=wanted) as raised:
        broken.get()
    assert isinstance(raised.value.__cause__, ConnectionRefusedError)
    ended = use.apply()
    assert ended.state == "FAILURE"
    assert "the resource 'broken' cannot be made" in str(ended.result)
    with pytest.raises(LavoroError, match=r"the resource 'empty' yields nothing \(.*test_resources.py, line \d+\)"):
        empty.get()


def test_the_others_are_closed_after_an_error(app: Lavoro, caplog: pytest.LogCaptureFixture) -> None:
    good = mailer_of(app)

    @app.resource
    def bad() -> Iterator[int]:
        yield 1
        raise ValueError("cannot close")

    @app.resource
    def twice() -> Iterator[int]:
        yield 1
        yield 2

    for resource in (good, bad, twice):
        resource.get()
    app.close()
    told = [record.getMessage() for record in caplog.records]
    assert told[0].startswith("the resource 'twice' cannot be closed: RuntimeError: it yields twice (")
    assert told[1].startswith("the resource 'bad' cannot be closed: ValueError: cannot close (")
    assert len(told) == 2
    assert good.made[0].closed


def test_one_that_hangs_is_named(
    app: Lavoro, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = threading.Event()
    monkeypatch.setattr(slow, "SLOW", 0.01)
    monkeypatch.setattr(slow.logger, "warning", lambda text, *args: (caplog.messages.append(text % args), told.set()))

    @app.resource
    def stuck() -> Iterator[int]:
        assert told.wait(30)
        yield 1

    stuck.get()


def test_threads_share_it(app: Lavoro) -> None:
    entered, go_on, made = threading.Event(), threading.Event(), []

    @app.resource
    def client() -> Iterator[object]:
        entered.set()
        assert go_on.wait(30)
        made.append(object())
        yield made[-1]

    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(client.get())) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert found == made * 5


def test_a_fork_makes_its_own_and_leaves_that_of_the_parent_open(app: Lavoro) -> None:
    resource = mailer_of(app)
    parents = resource.get()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        own = resource.get()
        app.close()
        os.write(writer, f"{own is not parents} {own.closed} {parents.closed}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 100) == b"True True False"
    assert resource.get() is parents
    for descriptor in (reader, writer):
        os.close(descriptor)


def test_a_process_that_is_no_worker_closes_them_at_its_end(app: Lavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    at_exit: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *call: at_exit.append(call))
    resource = mailer_of(app)
    resource.get()
    ((function, reference),) = at_exit
    function(reference)
    assert resource.made[0].closed
    assert module._close is function


# Tests of the user


def test_it_is_overridden_for_a_block(app: Lavoro) -> None:
    resource, task, fake = mailer_of(app), by_default(app), Mailer("fake")
    with app.override(resource, fake) as put:
        assert put is fake
        assert task("a") == "fake:a"
        with app.override("mailer", Mailer("inner")):
            assert task("b") == "inner:b"
        assert task("c") == "fake:c"
    assert resource.made == []
    assert task("d") == "smtp:d"
    with pytest.raises(ImproperlyConfigured, match="there is no resource 'mail' to override: the resources are mailer"):
        app.override("mail", fake).__enter__()


def test_a_parameter_that_must_be_a_resource_and_is_none(app: Lavoro) -> None:
    @app.task
    def send(address: str, mailr: Any = given) -> None: ...

    mailer_of(app)
    with pytest.raises(
        ImproperlyConfigured, match=r"the task .*send has a parameter 'mailr', which is no resource; .* mailer"
    ):
        app.resources.check(app.tasks.values(), ())


def test_a_resource_that_uses_none(app: Lavoro) -> None:
    @app.resource
    def client(engine: object) -> Iterator[int]:
        yield 1

    with pytest.raises(ImproperlyConfigured, match=r"client has a parameter 'engine', which is no resource"):
        app.resources.check((), ())


def test_tasks_of_other_names_and_of_lavoro_are_left_alone(app: Lavoro) -> None:
    for name in ("task", "it", "header"):
        mailer_of(app, name)

    @app.task
    def plain(x: int) -> int:
        return x

    assert all(task.__handed__ is None for task in app.tasks.values())
    assert "run" not in vars(plain)


# In a worker, and beside it


def test_the_command_that_runs_one_task_makes_and_closes_it(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from lavoro import Lavoro, given\n"
        "app = Lavoro('shop')\n"
        "@app.resource\n"
        "def client():\n"
        "    print('made')\n"
        "    yield 'client'\n"
        "    print('closed')\n"
        "@app.task\n"
        "def use(word, client=given): return [word, client]\n"
    )
    command = [sys.executable, "-m", "lavoro", "run", "-A", "shop", "shop.use", "word"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == '["word", "client"]\n', done.stderr
    assert [line.split()[-1] for line in done.stderr.splitlines()] == ["made", "closed"]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_worker_hands_it_to_its_tasks(migrated_url: str, pool: str) -> None:
    app = Lavoro("resources", broker=migrated_url, set_as_current=False)
    resource, task, unused = mailer_of(app), by_default(app), mailer_of(app, "unused")
    with worker(app, pool=pool):
        assert len(resource.made) == 1  # before the first task
        assert task.delay("a").get(timeout=30) == "smtp:a"
        assert not resource.made[0].closed
    assert [made.closed for made in resource.made] == [True]
    assert unused.made == []
    app.close()
