"""States and their order; the classes of exceptions, their bases and arguments."""

import pickle

from celery import exceptions as e
from celery import states
from record import attempt, say

POOLS = ()
CLASSES = (
    "CeleryError TaskPredicate Retry Ignore Reject TaskError QueueNotFound IncompleteStream MaxRetriesExceededError"
    " TaskRevokedError NotRegistered AlreadyRegistered TimeoutError InvalidTaskError ChordError BackendError"
    " BackendGetMetaError BackendStoreError SecurityError ImproperlyConfigured OperationalError SoftTimeLimitExceeded"
    " TimeLimitExceeded WorkerLostError Terminated WorkerShutdown WorkerTerminate AlwaysEagerIgnored CeleryWarning"
    " DuplicateNodenameWarning FixupWarning NotConfigured SecurityWarning CPendingDeprecationWarning"
    " CDeprecationWarning CeleryCommandException"
).split()


def part_states():
    for name in "PENDING RECEIVED STARTED SUCCESS FAILURE REVOKED RETRY IGNORED REJECTED".split():
        attempt(name, getattr, states, name)
    for name in "READY_STATES UNREADY_STATES EXCEPTION_STATES PROPAGATE_STATES ALL_STATES".split():
        attempt(name, lambda name=name: sorted(getattr(states, name)))
    attempt("PRECEDENCE", lambda: states.PRECEDENCE)
    attempt("PRECEDENCE_LOOKUP", lambda: states.PRECEDENCE_LOOKUP)
    attempt("NONE_PRECEDENCE", lambda: states.NONE_PRECEDENCE)
    for name in ("SUCCESS", "PENDING", "RETRY", "CUSTOM"):
        attempt(f"precedence {name}", lambda name=name: states.precedence(name))
    for left, right in [("PENDING", "SUCCESS"), ("FAILURE", "RETRY"), ("CUSTOM", "REVOKED"), ("STARTED", "STARTED")]:
        attempt(
            f"state {left} {right}",
            lambda left=left, right=right: [
                states.state(left) > states.state(right),
                states.state(left) >= states.state(right),
                states.state(left) < states.state(right),
                states.state(left) <= states.state(right),
                states.state(left) == states.state(right),
            ],
        )


def part_exceptions():
    known = {name: getattr(e, name) for name in CLASSES if hasattr(e, name)}
    for name in CLASSES:
        say(f"{name} is there", name in known)
    for name, kind in known.items():
        bases = [other for other, base in known.items() if other != name and issubclass(kind, base)]
        builtin = [base.__name__ for base in kind.__mro__ if base.__module__ == "builtins"]
        say(f"{name}.bases", sorted(set(bases) - {name}))
        say(f"{name}.builtin", builtin)
        if name in ("Retry", "Reject"):
            continue
        attempt(f"{name} empty", kind)
        error = attempt(f"{name} of one", kind, "words")
        if error is not None:
            attempt(f"{name}.str", str, error)
            attempt(f"{name}.pickle", lambda error=error: pickle.loads(pickle.dumps(error)))
    attempt("NotRegistered repr", lambda: repr(e.NotRegistered("a.task")))
    attempt("WorkerShutdown code", lambda: e.WorkerShutdown(3).code)
    attempt("ChordError", lambda: e.ChordError("x").args)
    attempt("aliases", lambda: e.RetryTaskError is e.Retry)
    attempt("hard limit", lambda: str(e.TimeLimitExceeded(5)))
    attempt("soft limit", lambda: str(e.SoftTimeLimitExceeded()))
    attempt("backend get", lambda: e.BackendGetMetaError("x", task_id="i").task_id)
    attempt("backend store", lambda: repr(e.BackendStoreError("x", state="S")))
