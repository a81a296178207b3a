"""The exceptions: their arguments, and that they can be pickled and copied."""

from __future__ import annotations

import copy
import pickle

import pytest

from lavoro import exceptions
from lavoro.exceptions import LavoroError, MaxRetriesExceededError, Reject, Retry


def test_a_retry_takes_its_arguments_in_celerys_order() -> None:
    error = ValueError("x")
    retry = Retry("message", error, 3, True, "sig")
    assert (retry.message, retry.exc, retry.excs) == ("message", error, "ValueError('x')")
    assert (retry.when, retry.is_eager, retry.sig) == (3, True, "sig")
    assert str(retry) == "message"
    assert str(Retry(exc=error, when=3)) == "Retry in 3s: ValueError('x')"
    assert str(Retry(exc="only its words", when=0.5)) == "Retry in 0.5s: only its words"


def kinds() -> list[type[Exception]]:
    named = [getattr(exceptions, name) for name in dir(exceptions)]
    mine = [kind for kind in named if isinstance(kind, type) and issubclass(kind, LavoroError)]
    return [kind for kind in mine if kind is not exceptions.CeleryCommandException]  # it must have two arguments


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("arguments", [(), ("text",)])
def test_every_error_can_be_pickled_and_copied(kind: type[Exception], arguments: tuple[str, ...]) -> None:
    error = kind(*arguments)
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(same), str(same), repr(same)) == (kind, str(error), repr(error))


def test_what_errors_know_is_pickled_too() -> None:
    retry = pickle.loads(pickle.dumps(Retry("message", ValueError("x"), 3, True, sig=lambda: None)))
    assert (repr(retry.exc), retry.excs, retry.when, retry.is_eager) == ("ValueError('x')", "ValueError('x')", 3, True)
    assert pickle.loads(pickle.dumps(Retry(exc="words"))).excs == "words"
    reject = pickle.loads(pickle.dumps(Reject("why", requeue=True)))
    assert (reject.reason, reject.requeue, repr(reject)) == ("why", True, "reject requeue=True: why")
    spent = pickle.loads(pickle.dumps(MaxRetriesExceededError("spent", task_args=(1,), task_kwargs={"x": 2})))
    assert (spent.task_args, spent.task_kwargs) == ((1,), {"x": 2})
