"""Chords whose members differ only in their arguments: the short form of their insert stores what any form does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from psycopg.errors import UniqueViolation

from lavoro import Lavoro, chord
from lavoro.calling.outbox import composed
from lavoro.protocol.ids import uuid7
from lavoro.protocol.message import Message
from lavoro.protocol.place import Place
from lavoro.store import chords, tasks
from lavoro.store.columns import of_canvas
from lavoro.store.statements import numbered
from lavoro.store.tx import Tx
from tests.store.walk import message, rows, succeeded, take, value

SOON = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
STORED = """
select to_jsonb(x) - 'created_at' - 'due_at' from (
    select 'barrier' as place, to_jsonb(b) as row from lavoro.barrier b
    union all select 'held', to_jsonb(h) || jsonb_build_object('options', h.options::text) from lavoro.held h
    union all select 'waiting', to_jsonb(w) || jsonb_build_object('options', w.options::text) from lavoro.waiting w
) s cross join lateral (select s.place, s.row - 'created_at' - 'due_at' - 'countdown' as row) x
order by s.place, s.row->>'id'"""
"""All rows but their times; a countdown of nothing is stored as 0 by one form, and not at all by the other."""


def uniform(size: int, **changes: Any) -> list[Message]:
    """The messages of a chord that the short form stores."""
    barrier = uuid7()
    members = [
        message(
            args=f"[{index}]", kwargs=None if index % 2 else '{"a":"b"}', options=f'{{"a":"é","group_index":{index}}}',
            place=Place(f'{{"{barrier}":{index}}}'), priority=3,
        )
        for index in range(size)
    ]  # fmt: skip
    place = Place(held_for=barrier, expects=size, policy="wait")
    return [*members, message(name="test.body", queue="bodies", options='{"b":1}', **{"place": place, **changes})]


def test_the_short_form_stores_what_the_general_one_does(tx: Tx) -> None:
    sent = uniform(3)
    parameters, columns = chords.parameters_of(sent), of_canvas(sent)
    assert parameters is not None
    assert columns is not None
    chords.insert(tx, parameters, always=False)
    short = rows(tx, STORED)
    tx.connection.execute("truncate lavoro.waiting, lavoro.held, lavoro.barrier")
    tx.execute("insert_canvas", columns | {"always": False})
    assert short == rows(tx, STORED)
    assert len(short) == 5


def test_its_parameters_have_the_order_of_the_statement(tx: Tx) -> None:
    assert len(chords.parameters_of(uniform(2)) or ()) + 1 == len(numbered("insert_chord")[1])


def test_it_runs_to_its_body(tx: Tx) -> None:
    *members, body = sent = uniform(2)
    tasks.insert(tx, sent)
    jobs = take(tx, tasks.Lane("celery", 3, dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)))
    assert [(job.id, job.args, job.kwargs) for job in jobs] == [(each.id, each.args, each.kwargs) for each in members]
    tasks.finish(tx, 1, [succeeded(job) for job in jobs])
    assert rows(tx, "select id, queue from lavoro.waiting") == [(body.id, "bodies")]


CHANGES: dict[str, Callable[[list[Message]], list[Message]]] = {
    "another name": lambda sent: [sent[0], sent[1]._replace(name="test.other"), sent[2]],
    "another queue": lambda sent: [sent[0], sent[1]._replace(queue="other"), sent[2]],
    "another priority": lambda sent: [sent[0], sent[1]._replace(priority=1), sent[2]],
    "other options": lambda sent: [sent[0], sent[1]._replace(options='{"group_index":1}'), sent[2]],
    "no options": lambda sent: [sent[0], sent[1]._replace(options=None), sent[2]],
    "another order": lambda sent: [sent[1], sent[0], sent[2]],
    "all for later": lambda sent: [*(each._replace(countdown=1.0) for each in sent[:2]), sent[2]],
    "at a time": lambda sent: [*(each._replace(eta=SOON) for each in sent[:2]), sent[2]],
    "until a time": lambda sent: [*(each._replace(expires=SOON) for each in sent[:2]), sent[2]],
    "for a while": lambda sent: [*(each._replace(expires_in=1.0) for each in sent[:2]), sent[2]],
    "retries": lambda sent: [*(each._replace(retries=1) for each in sent[:2]), sent[2]],
    "payloads": lambda sent: [*(each._replace(args=None, payload=b"") for each in sent[:2]), sent[2]],
    "another barrier": lambda sent: [sent[0], sent[1]._replace(place=Place(f'{{"{uuid7()}":1}}')), sent[2]],
    "no barrier": lambda sent: [sent[0], sent[1]._replace(place=None), sent[2]],
    "a body for later": lambda sent: [*sent[:2], sent[2]._replace(countdown=1.0)],
    "a body that expires": lambda sent: [*sent[:2], sent[2]._replace(expires=SOON)],
    "a body in a chord": lambda sent: [*sent[:2], sent[2]._replace(place=sent[2].place._replace(barriers='{"x":0}'))],
    "a body that waits for more": lambda sent: [*sent[:2], sent[2]._replace(place=sent[2].place._replace(expects=3))],
    "no body": lambda sent: sent[:2],
    "a body alone": lambda sent: sent[2:],
    "a body amid": lambda sent: [sent[0], sent[2], sent[1]],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_another_form_is_left_to_the_general_statement(change: str) -> None:
    assert chords.parameters_of(CHANGES[change](uniform(2))) is None


def test_an_id_that_is_taken_stores_nothing_of_it(tx: Tx) -> None:
    first, second = uniform(2), uniform(2)
    second[1] = second[1]._replace(id=first[0].id)
    tasks.insert(tx, first)
    parameters = chords.parameters_of(second)
    assert parameters is not None
    with pytest.raises(UniqueViolation):
        chords.insert(tx, parameters, always=False)
    assert value(tx, "select count(*) from lavoro.tasks") == 3
    assert value(tx, "select count(*) from lavoro.barrier") == 1


@pytest.mark.parametrize("policy", [None, "run"])
def test_a_chord_of_one_task_has_the_form(policy: str | None) -> None:
    app = Lavoro()
    add, total = (app.task(name=name)(lambda *args: None) for name in ("add", "total"))
    with composed(app) as outbox:
        chord([add.s(number) for number in range(12)], total.s(), app=app).apply_async(failure_policy=policy)
    parameters = chords.parameters_of(outbox.messages)
    assert parameters is not None
    assert parameters[8] == (policy and policy.encode())
