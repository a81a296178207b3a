"""Tasks with pydantic=True: models are validated in and dumped out, as Celery does it."""

from __future__ import annotations

import datetime as dt
import functools
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Optional

import pydantic
import pytest

from lavoro import Lavoro, Task, shared_task
from lavoro.exceptions import ImproperlyConfigured
from tests.api.conftest import Rows


class User(pydantic.BaseModel):
    """A model."""

    id: int
    born: dt.date | None = None

    @pydantic.model_validator(mode="after")
    def _remember(self, info: pydantic.ValidationInfo) -> User:
        seen.append(info.context)
        return self


class Admin(User):
    """A model of one's own kind."""

    rights: tuple[str, ...] = ()


seen: list[Any] = []


@pytest.fixture
def eager(app: Lavoro) -> Lavoro:
    """The application, which runs its tasks here, with what a worker would get."""
    app.conf.update(task_always_eager=True, task_eager_propagates=True)
    seen.clear()
    return app


def greet(user: User, other: Optional[User] = None, *rest: User, plain: dict[str, Any], **more: Any) -> User:  # noqa: UP045
    assert isinstance(user, User)
    assert other is None or isinstance(other, User)
    assert all(isinstance(item, dict) for item in (*rest, plain, *more.values()))
    return other or user


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        (({"id": 1},), {"plain": {"id": 2}}, {"id": 1, "born": None}),
        (({"id": "1", "born": "2000-01-31"},), {"plain": {}}, {"id": 1, "born": "2000-01-31"}),
        (({"id": 1}, {"id": 2}, {"id": 3}), {"plain": {}, "x": {"id": 4}}, {"id": 2, "born": None}),
        ((), {"user": {"id": 1}, "other": None, "plain": {}}, {"id": 1, "born": None}),
        ((User(id=5), User(id=6)), {"plain": {}}, {"id": 6, "born": None}),
        ((), {"user": User(id=5, born=dt.date(2000, 1, 31)), "plain": {}}, {"id": 5, "born": "2000-01-31"}),
    ],
)
def test_models_go_in_and_come_out(eager: Lavoro, args: Any, kwargs: Any, found: Any) -> None:
    task = eager.task(pydantic=True)(greet)
    assert task.delay(*args, **kwargs).get() == found
    assert task.apply(args, kwargs).get() == found
    assert task(*args, **kwargs) == found
    shared: Any = shared_task(pydantic=True, name="shared.greet")(greet)
    assert shared.delay(*args, **kwargs).get() == found


def test_what_cannot_be_validated_fails_the_task(eager: Lavoro) -> None:
    task = eager.task(pydantic=True)(greet)
    for given in ({"id": "one"}, None, 5, [1]):
        with pytest.raises(pydantic.ValidationError):
            task.delay(given, plain={})
    eager.conf.task_eager_propagates = False
    result = task.delay({"id": "one"}, plain={})
    assert result.state == "FAILURE"
    assert "ValidationError" in str(result.traceback)


def test_options(eager: Lavoro) -> None:
    strict = eager.task(name="strict", pydantic=True, pydantic_strict=True)(greet)
    with pytest.raises(pydantic.ValidationError, match="valid integer"):
        strict.delay({"id": "1"}, plain={})
    context = {"tenant": 5}
    known = eager.task(
        name="known", pydantic=True, pydantic_context=context, pydantic_dump_kwargs={"exclude_none": True}
    )(greet)
    seen.clear()
    assert known.delay({"id": 1}, plain={}).get() == {"id": 1}
    assert seen == [{"tenant": 5, "celery_app": eager, "celery_task_name": "known"}]
    assert context == {"tenant": 5}
    for option in ("pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs"):
        with pytest.raises(ImproperlyConfigured, match=f"task 'wrong': {option} must be "):
            eager.task(name="wrong", **{option: "x"})(greet)
    assert not hasattr(known, "pydantic_context")


def test_models_are_stored_as_plain_data(app: Lavoro, rows: Rows) -> None:
    @app.task(pydantic=True, bind=True, name="hello")
    def hello(self: Task[..., Any], user: User, other: Optional[User] = None) -> None: ...  # noqa: UP045

    born = User(id=1, born=dt.date(2000, 1, 31))
    hello.delay(born, other=User(id=2))
    hello.delay_many([(born,), {"user": User(id=2)}])
    assert [(row["args"], row["kwargs"]) for row in rows()] == [
        ([{"id": 1, "born": "2000-01-31"}], {"other": {"id": 2, "born": None}}),
        ([{"id": 1, "born": "2000-01-31"}], None),
        ([], {"user": {"id": 2, "born": None}}),
    ]
    with pytest.raises(TypeError, match="Admin is not JSON serializable"):
        hello.delay(Admin(id=1, rights=("all",)))  # as a User it would lose the rights
    app.conf.accept_content = ["pickle"]
    result = hello.apply_async((born,), serializer="pickle")
    assert result.args == [born]


def test_a_retry_may_have_other_models(eager: Lavoro) -> None:
    @eager.task(pydantic=True, bind=True, default_retry_delay=0)
    def again(self: Task[..., Any], user: User) -> User:
        if self.request.retries == 0:
            raise self.retry(args=(User(id=user.id + 1),))
        return user

    eager.conf.task_eager_propagates = False
    assert again.delay({"id": 1}).get() == {"id": 2, "born": None}


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def adding(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(user: User, times: int) -> Any:
        return function(User(id=user.id * times), plain={})

    return wrapper


def test_decorated_functions(eager: Lavoro) -> None:
    found = eager.task(name="plain", pydantic=True)(plain(greet)).delay({"id": 1}, plain={}).get()
    assert found == {"id": 1, "born": None}
    assert eager.task(name="adding", pydantic=True)(adding(greet)).delay({"id": 2}, 3).get() == {"id": 6, "born": None}


def test_without_the_option_nothing_happens(eager: Lavoro) -> None:
    @eager.task(pydantic=False)
    def kind(user: User) -> str:
        return type(user).__name__

    assert kind.delay({"id": 1}).get() == "dict"


def test_without_the_package_it_is_refused() -> None:
    program = (
        "import sys\n"
        "import lavoro\n"
        "assert 'pydantic' not in sys.modules\n"
        "sys.modules['pydantic'] = None\n"
        "app = lavoro.Lavoro('shop')\n"
        "app.task(lambda: 1)\n"
        "app.task(name='a', pydantic=True)(lambda: 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "ImproperlyConfigured: pydantic=True needs pydantic: pip install 'lavoro[pydantic]'" in done.stderr
