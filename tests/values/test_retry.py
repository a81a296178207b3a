"""When a failed task is tried again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lavoro.execution.retry import autoretry_options, backoff


@pytest.mark.parametrize(
    ("factor", "retries", "maximum", "expected"),
    [
        (1, 0, 600, 1), (1, 1, 600, 2), (1, 2, 600, 4), (1, 3, 600, 8), (1, 9, 600, 512), (1, 10, 600, 600),
        (1, 32, 600, 600), (1, 1_000_000, 600, 600), (2, 3, 600, 16), (5, 0, 600, 5), (60, 5, 600, 600),
        (1, 5, 10, 10), (1, 3, 8, 8), (1, 3, 7, 7), (1, 0, 0, 0), (1, 3, -5, 0), (1, 4, 7.9, 7), (1, 20, 10**9, 2**20),
    ],
)  # fmt: skip
def test_the_formula(factor: int, retries: int, maximum: float, expected: int) -> None:
    assert backoff(factor, retries, maximum=maximum) == expected


def test_full_jitter_picks_from_zero_up_to_the_countdown() -> None:
    asked: list[int] = []

    def pick(end: int) -> int:
        asked.append(end)
        return end - 1

    assert backoff(1, 3, full_jitter=True, pick=pick) == 8
    assert asked == [9]  # randrange(9): from 0 to 8
    assert {backoff(1, 1, full_jitter=True) for _ in range(200)} == {0, 1, 2}


def test_jitter_may_be_fixed_by_replacing_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.randrange", lambda end: end - 2)
    assert backoff(1, 3, full_jitter=True) == 7


def task(**attributes: Any) -> Any:
    return SimpleNamespace(**{"retry_jitter": False, **attributes})


@pytest.mark.parametrize(
    ("attributes", "retries", "expected"),
    [
        ({}, 3, {}),
        ({"retry_backoff": False}, 3, {}),
        ({"retry_backoff": True}, 3, {"countdown": 8}),
        ({"retry_backoff": 0.5}, 3, {"countdown": 8}),
        ({"retry_backoff": 2.9}, 1, {"countdown": 4}),
        ({"retry_backoff": 5, "retry_backoff_max": 30}, 3, {"countdown": 30}),
        ({"retry_kwargs": {"max_retries": 7, "countdown": 3}}, 0, {"max_retries": 7, "countdown": 3}),
        ({"retry_kwargs": {"countdown": 3}, "retry_backoff": True}, 0, {"countdown": 1}),
    ],
)
def test_what_autoretry_asks_for(attributes: dict[str, Any], retries: int, expected: dict[str, Any]) -> None:
    assert autoretry_options(task(**attributes), retries) == expected


def test_the_limit_of_the_run_wins() -> None:
    for limit in (0, 9):
        assert autoretry_options(task(), 0, limit=limit) == {"max_retries": limit}
        assert autoretry_options(task(retry_kwargs={"max_retries": 2}), 0, limit=limit) == {"max_retries": limit}


def test_shared_options_are_never_changed() -> None:
    shared = {"max_retries": 5}
    subject = task(retry_kwargs=shared, retry_backoff=True)
    assert autoretry_options(subject, 0) == {"max_retries": 5, "countdown": 1}
    assert autoretry_options(subject, 4) == {"max_retries": 5, "countdown": 16}
    assert shared == {"max_retries": 5}


def test_jitter_is_the_default() -> None:
    subject = SimpleNamespace(retry_backoff=True)
    assert {autoretry_options(subject, 1)["countdown"] for _ in range(200)} == {0, 1, 2}
