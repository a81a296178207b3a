"""Tasks with blockers, and tasks that are ended from outside, through a real worker."""

from __future__ import annotations

import pytest

from lavoro import chain, chord, group
from lavoro.exceptions import ChordError
from lavoro.protocol.ids import uuid7
from lavoro.result import AsyncResult
from tests.api import tasks
from tests.api.tasks import LocalError, add, boom, echo, identity

pytestmark = pytest.mark.usefixtures("worker")


def test_a_task_waits_for_its_blockers() -> None:
    blocker = add.apply_async((1, 2), countdown=0.2)
    waits = echo.apply_async(("late",), blockers=[blocker])
    assert waits.get(timeout=30) == [["late"], {}]
    assert blocker.get(timeout=0) == 3


def test_a_task_waits_for_the_last_step_of_a_chain_and_for_a_group() -> None:
    last = chain(identity.s(1).set(countdown=0.2), add.s(2), add.s(3)).delay()
    members = group(identity.s(1), identity.s(2).set(countdown=0.2)).delay()
    waits = echo.apply_async(("late",), blockers=[last, members])
    assert waits.get(timeout=30) == [["late"], {}]
    assert last.get(timeout=0) == 6
    assert members.get(timeout=0) == [1, 2]


def test_a_task_waits_for_a_chord_behind_a_chain() -> None:
    body = (identity.s(1).set(countdown=0.2) | chord([add.s(1), add.s(2)], identity.s())).delay()
    waits = echo.apply_async(("late",), blockers=[body])
    assert waits.get(timeout=30) == [["late"], {}]
    assert body.get(timeout=0) == [2, 3]


def test_a_task_fails_with_the_chain_that_it_waits_for() -> None:
    last = chain(identity.s(1).set(countdown=0.2), boom.si(), add.s(3)).delay()
    with pytest.raises(ChordError, match=f"Dependency {last.parent.id} raised"):
        echo.apply_async(("never",), blockers=[last]).get(timeout=30)


def test_a_task_fails_with_its_blocker() -> None:
    blocker = boom.delay()
    with pytest.raises(ChordError, match=f"Dependency {blocker.id} raised"):
        echo.apply_async(("never",), blockers=[blocker]).get(timeout=30)


def test_a_task_is_completed_from_outside_and_its_chain_goes_on() -> None:
    last = chain(identity.s(1).set(countdown=3600), add.s(2)).delay()
    assert tasks.app.complete(last.parent.id, 5)
    assert last.get(timeout=30) == 7
    assert not tasks.app.complete(last.parent.id, 6)
    assert not tasks.app.complete(str(uuid7()), 6)


def test_a_member_that_is_failed_from_outside_fails_the_body() -> None:
    body = chord([identity.s(1), identity.s(2).set(countdown=3600)])(identity.s())
    member = body.parent[1]
    assert tasks.app.fail(member.id, ValueError("no"))
    error = body.get(timeout=30, propagate=False)
    assert type(error) is ChordError
    assert str(error) == f"Dependency {member.id} raised ValueError('no')"
    assert AsyncResult(member.id, app=tasks.app).state == "FAILURE"


def test_the_error_of_a_member_is_raised_for_its_chord() -> None:
    """As with Celery, whose ``get`` looks at the tasks before; the stored error of the body names the member."""
    body = chord([boom.si()], identity.s()).delay()
    with pytest.raises(ChordError, match=r"Dependency .* raised"):
        body.get(timeout=30, follow_parents=False)
    with pytest.raises(LocalError, match="boom"):
        body.get(timeout=30)
