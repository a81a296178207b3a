"""The errors and states of Celery: the same names, and the same `except` clauses catch them."""

from __future__ import annotations

import pytest

from lavoro import exceptions, states

CAUGHT = {
    "CeleryError": {
        "CeleryError", "TaskPredicate", "Retry", "Ignore", "Reject", "TaskError", "QueueNotFound", "IncompleteStream",
        "NotRegistered", "AlreadyRegistered", "TimeoutError", "MaxRetriesExceededError", "TaskRevokedError",
        "InvalidTaskError", "ChordError", "ImproperlyConfigured", "SecurityError", "SchemaOutdated",
    },
    "TaskError": {
        "TaskError", "QueueNotFound", "IncompleteStream", "NotRegistered", "AlreadyRegistered", "TimeoutError",
        "MaxRetriesExceededError", "TaskRevokedError", "InvalidTaskError", "ChordError",
    },
    "TaskPredicate": {"TaskPredicate", "Retry", "Ignore", "Reject"},
    "BackendError": {"BackendError", "BackendGetMetaError", "BackendStoreError"},
}  # fmt: skip
CLASSES = {name: value for name, value in vars(exceptions).items() if isinstance(value, type) and name[0] != "_"}
OF_CELERY = [
    "reraise", "CeleryWarning", "AlwaysEagerIgnored", "DuplicateNodenameWarning", "DuplicateTaskNameWarning",
    "FixupWarning", "NotConfigured", "SecurityWarning", "CeleryError", "ImproperlyConfigured", "SecurityError",
    "OperationalError", "TaskPredicate", "Ignore", "Reject", "Retry", "TaskError", "QueueNotFound", "IncompleteStream",
    "NotRegistered", "AlreadyRegistered", "TimeoutError", "MaxRetriesExceededError", "TaskRevokedError",
    "InvalidTaskError", "ChordError", "BackendError", "BackendGetMetaError", "BackendStoreError",
    "SoftTimeLimitExceeded", "TimeLimitExceeded", "WorkerLostError", "Terminated", "CPendingDeprecationWarning",
    "CDeprecationWarning", "WorkerShutdown", "WorkerTerminate", "CeleryCommandException", "RetryTaskError",
    "SystemTerminate",
]  # fmt: skip


@pytest.mark.parametrize("base", CAUGHT)
def test_an_except_clause_catches_what_it_catches_in_celery(base: str) -> None:
    found = {name for name, value in CLASSES.items() if issubclass(value, CLASSES[base])}
    assert found - {"RetryTaskError"} == CAUGHT[base]


@pytest.mark.parametrize("name", OF_CELERY)
def test_names(name: str) -> None:
    assert callable(getattr(exceptions, name))


def test_built_in_errors_catch_some() -> None:
    assert issubclass(exceptions.WorkerShutdown, SystemExit)
    assert issubclass(exceptions.WorkerTerminate, SystemExit)
    assert issubclass(exceptions.NotRegistered, KeyError)
    assert issubclass(exceptions.QueueNotFound, KeyError)
    assert issubclass(exceptions.CeleryWarning, UserWarning)
    assert issubclass(exceptions.NotConfigured, exceptions.CeleryWarning)


def test_what_they_carry() -> None:
    assert repr(exceptions.Reject("full", requeue=True)) == "reject requeue=True: full"
    stored = exceptions.BackendStoreError("lost", state="SUCCESS", task_id="1")
    assert (str(stored), stored.state, stored.task_id) == ("lost", "SUCCESS", "1")
    assert repr(stored) == "BackendStoreError('lost') state:SUCCESS task_id:1"
    found = exceptions.BackendGetMetaError("lost", task_id="1")
    assert (found.task_id, repr(found)) == ("1", "BackendGetMetaError('lost') task_id:1")
    ended = exceptions.CeleryCommandException(message="no node answered", exit_code=69)
    assert (str(ended), ended.message, ended.exit_code) == ("no node answered", "no node answered", 69)
    with pytest.raises(ValueError, match="again") as raised:
        exceptions.reraise(ValueError, ValueError("again"))
    assert raised.value.__traceback__ is not None


# States


def test_precedence() -> None:
    order = ["SUCCESS", "FAILURE", "PROGRESS", "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING"]
    assert [states.precedence(name) for name in order] == [*range(9)]
    assert states.PRECEDENCE[2] is None
    assert states.state("PROGRESS") > states.STARTED
    assert not states.state("PROGRESS") > states.SUCCESS
    assert states.state(states.PENDING) < states.SUCCESS
    assert states.state("SUCCESS") >= "SUCCESS"
    assert states.state("SUCCESS") <= "SUCCESS"
    assert states.state("SUCCESS") == "SUCCESS"


def test_the_sets() -> None:
    all_states = {"PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"}
    assert all_states == states.ALL_STATES
