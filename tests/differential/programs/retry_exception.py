"""The class `Retry`, and its kin."""

import datetime as dt
import pickle

from celery.exceptions import Ignore, MaxRetriesExceededError, Reject, Retry, TaskPredicate
from record import attempt, say

POOLS = ()


def bases(kind):
    return [base.__name__ for base in kind.__mro__ if base.__name__ != "LavoroError"]


def told(error):
    return type(error).__name__, error.exc, error.when


def all_of(label, error):
    say(label, error)
    for name in ("message", "exc", "excs", "when", "is_eager", "sig"):
        attempt(f"{label}.{name}", getattr, error, name)
    attempt(f"{label}.str", str, error)
    attempt(f"{label}.humanize", error.humanize)
    attempt(f"{label}.pickle", lambda: told(pickle.loads(pickle.dumps(error))))


def part_retry():
    all_of("empty", Retry())
    all_of("message", Retry("words"))
    all_of("positional", Retry("words", ValueError("v"), 5, True))
    all_of("exc", Retry(exc=ValueError("v")))
    all_of("text as exc", Retry(exc="text"))
    all_of("when number", Retry("words", when=30))
    all_of("when date", Retry(when=dt.datetime(2030, 1, 1)))
    all_of("exc and when", Retry(exc=KeyError("k"), when=1.5))
    all_of("sig", Retry("words", None, None, False, None))
    all_of("keywords", Retry(message="words", exc=ValueError("v"), when=3, is_eager=True))
    attempt("too many", Retry, 1, 2, 3, 4, 5, 6)
    try:
        try:
            raise ValueError("current")
        except ValueError:
            raise Retry("in a handler")  # noqa: B904
    except Retry as error:
        all_of("in a handler", error)
    say("bases", bases(Retry))


def part_reject():
    for label, error in {
        "empty": Reject(),
        "reason": Reject("why"),
        "requeue": Reject("why", True),
        "keyword": Reject(reason="why", requeue=True),
    }.items():
        say(f"reject {label}", (error.args, error.reason, error.requeue, str(error), repr(error)))
    say("reject bases", bases(Reject))


def part_others():
    say("ignore", (Ignore().args, Ignore("x").args, repr(Ignore("x")), bases(Ignore)))
    say("predicate", issubclass(Retry, TaskPredicate))
    error = MaxRetriesExceededError("words", task_args=(1,), task_kwargs={"a": 1})
    say("max", (error.args, error.task_args, error.task_kwargs, str(error)))
    say("max empty", (MaxRetriesExceededError().task_args, MaxRetriesExceededError().task_kwargs))
