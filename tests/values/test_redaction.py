"""Secrets in arguments do not reach logs and errors."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

from lavoro import Lavoro, Task
from lavoro.calling.redaction import LONGEST, shown
from lavoro.exceptions import MaxRetriesExceededError

PATTERNS = ["*password*", "card_?"]


@pytest.mark.parametrize(
    ("args", "kwargs", "told"),
    [
        ((), {}, ("()", "{}")),
        (("ann", "1234", 5), {}, ("('ann', '***', 5)", "{}")),
        (
            (),
            {"Password2": 1, "card_1": 2, "card_10": 3},
            ("()", "{'Password2': '***', 'card_1': '***', 'card_10': 3}"),
        ),
        (({"password": 1, "x": 2},), {}, ("({'password': '***', 'x': 2},)", "{}")),
        (([({"a": {"my_password": 1}},)],), {}, ("([({'a': {'my_password': '***'}},)],)", "{}")),
        ((), {"x": OrderedDict(password=1)}, ("()", "{'x': {'password': '***'}}")),
        (({1: "password"},), {}, ("({1: 'password'},)", "{}")),
        ([1, 2], {}, ("[1, '***']", "{}")),
    ],
)
def test_what_is_shown(args: Any, kwargs: dict[str, Any], told: tuple[str, str]) -> None:
    assert shown(args, kwargs, names=["user", "password"], patterns=PATTERNS) == told


def test_without_patterns_everything_is_shown() -> None:
    assert shown(("a",), {"password": 1}, names=["password"], patterns=[]) == ("('a',)", "{'password': 1}")


@pytest.fixture
def app() -> Lavoro:
    return Lavoro("test", broker="postgresql://127.0.0.1:1/nowhere", set_as_current=False)


def test_the_error_after_the_last_retry(app: Lavoro) -> None:
    @app.task(bind=True, max_retries=0)
    def login(self: Task[..., Any], user: str, password: str, *more: Any, **options: Any) -> None:
        raise self.retry()

    result = login.apply(("ann", "1234", "more"), {"token": "5678", "tone": "blue"})
    assert isinstance(result.result, MaxRetriesExceededError)
    told = str(result.result)
    assert "args:('ann', '***', 'more') kwargs:{'token': '***', 'tone': 'blue'}" in told
    assert "1234" not in told + (result.traceback or "")
    assert list(result.result.task_args) == ["ann", "1234", "more"]


def test_the_callers_own_words_win(app: Lavoro) -> None:
    """As in Celery: ``argsrepr`` and ``kwargsrepr`` travel with the call."""

    @app.task(bind=True, max_retries=0)
    def login(self: Task[..., Any], user: str) -> None:
        raise self.retry()

    result = login.apply(("ann",), argsrepr="(<user>,)")
    assert "args:(<user>,) kwargs:{}" in str(result.result)


def test_the_setting(app: Lavoro) -> None:
    @app.task
    def pay(card: str, amount: int) -> None: ...

    assert pay.__shown__(("4000", 5), {}) == ("('4000', 5)", "{}")
    app.conf.lavoro_redact = ["card"]
    assert pay.__shown__(("4000", 5), {}) == ("('***', 5)", "{}")


def test_arguments_without_a_repr_are_shown_all_the_same() -> None:
    args, kwargs = shown((10**5000, b"x" * 10_000_000), {"a": [1, (2,)]}, names=(), patterns=())
    assert "int" in args
    assert len(args) < 3 * LONGEST
    assert kwargs == "{'a': [1, (2,)]}"
