"""Events are made from rows: late ones too, each once; events of code are stored only while a monitor listens."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import lavoro.store
from lavoro import Lavoro
from lavoro.events.event import fits
from lavoro.events.feed import Feed
from lavoro.events.snapshot import Polaroid, rate
from lavoro.protocol.ids import uuid7
from lavoro.store import workers
from lavoro.store.workers import Registration
from tests.store.walk import rows

CORE = ("claim", "finish", "requeue", "rescue", "insert", "renew", "assign", "adopt", "offer")
"""The beginnings of the names of statements that each task, or an idle worker, runs."""


@pytest.fixture
def shop(migrated_url: str) -> Iterator[Lavoro]:
    app = Lavoro("shop", broker=migrated_url, set_as_current=False, task_send_sent_event=True)
    yield app
    app.close()


@pytest.fixture
def worker_id(shop: Lavoro) -> int:
    """A worker whose tasks are told."""
    registration = Registration("one@here", 0, "here", 4711, "solo", 1, ["celery"], "0.1.0", 3600.0, task_events=True)
    with shop.database.tx() as tx:
        return workers.register(tx, registration)


FINISH = """
    insert into lavoro.finished (id, state, worker_id, queue, priority, attempt, retries, crashes, runtime, due_at,
        created_at, started_at, finished_at, name, args, result)
    values (%(id)s, 'SUCCESS', %(worker)s, 'celery', 0, 1, 0, 0, 0.01, now(), now(), now(),
        clock_timestamp() - %(ago)s * interval '1 second', 'add', '[1, 2]', '3')
"""


def heard(feed: Feed) -> list[tuple[str, Any]]:
    """The events of tasks since the last look."""
    return [(event["type"], event.get("uuid")) for event in feed.look() if event["type"].startswith("task-")]


def whole(id: uuid.UUID) -> list[tuple[str, str]]:
    """The events of a task that has succeeded."""
    return [(f"task-{word}", str(id)) for word in ("sent", "received", "started", "succeeded")]


def test_each_end_is_told_once_also_one_that_is_committed_late(shop: Lavoro, worker_id: int, migrated_url: str) -> None:
    feed = Feed(shop)
    assert [event["type"] for event in feed.look()] == ["worker-online"]
    first, late = uuid7(), uuid7()
    with psycopg.connect(migrated_url) as slow, psycopg.connect(migrated_url, autocommit=True) as quick:
        slow.execute(FINISH, {"id": late, "worker": worker_id, "ago": 0})
        quick.execute(FINISH, {"id": first, "worker": worker_id, "ago": 0})
        assert heard(feed) == whole(first)
        slow.commit()
        assert heard(feed) == whole(late)
    assert heard(feed) == []


def test_a_task_that_was_seen_running_is_told_however_late(shop: Lavoro, worker_id: int, migrated_url: str) -> None:
    feed, id = Feed(shop), uuid7()
    feed.look()
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(
            "insert into lavoro.running (id, worker_id, queue, priority, attempt, retries, crashes, due_at, created_at,"
            " name, args) values (%s, %s, 'celery', 0, 1, 0, 0, now(), now(), 'add', '[1, 2]')",
            [id, worker_id],
        )
        assert heard(feed) == whole(id)[:3]
        with connection.transaction():
            connection.execute("delete from lavoro.running")
            connection.execute(FINISH, {"id": id, "worker": worker_id, "ago": 30})
        assert heard(feed) == whole(id)[3:]
    assert heard(feed) == []


def test_nothing_of_before_is_told(shop: Lavoro, worker_id: int, migrated_url: str) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(FINISH, {"id": uuid7(), "worker": worker_id, "ago": 0})
    feed = Feed(shop)
    feed.look()
    assert heard(feed) == []


def test_calls_are_told_while_they_wait(shop: Lavoro) -> None:
    feed = Feed(shop)
    feed.look()
    result = shop.send_task("add", (1, 2), kwargs={"password": "secret"}, countdown=60)
    [event] = feed.look()
    assert (event["type"], event["uuid"], event["kwargs"]) == ("task-sent", result.id, "{'password': '***'}")
    assert heard(feed) == []
    result.revoke()
    assert [type for type, _ in heard(feed)] == ["task-received", "task-revoked"]


def test_more_events_than_one_look_reads(shop: Lavoro, worker_id: int, migrated_url: str) -> None:
    feed, ids = Feed(shop), [uuid7() for _ in range(2_500)]
    feed.look()
    with psycopg.connect(migrated_url, autocommit=True) as connection, connection.transaction():
        connection.cursor().executemany(FINISH, [{"id": id, "worker": worker_id, "ago": 0} for id in ids])
    found = heard(feed)
    while feed.more:
        found += heard(feed)
    assert len(found) == 4 * len(ids)
    assert {id for _, id in found} == set(map(str, ids))


def test_events_of_code_are_stored_only_while_a_monitor_listens(shop: Lavoro) -> None:
    with shop.events.default_dispatcher() as dispatcher:
        dispatcher.send("invoice-paid", number=1)
        assert rows(shop.database.open("test"), "select type from lavoro.event") == []
        found: list[dict[str, Any]] = []
        receiver = shop.events.Receiver(handlers={"*": found.append})
        with pytest.raises(TimeoutError):
            for _ in receiver.itercapture(timeout=2):
                pass
        looks = receiver.itercapture(timeout=30)
        shop.send_task("add", (1, 2))
        next(looks)  # it listens
        dispatcher.send("invoice-paid", number=2, about=object)
        while not any(event["type"] == "invoice-paid" for event in found):
            next(looks)
        dispatcher.send("invoice-sent")
        while not any(event["type"] == "invoice-sent" for event in found):
            next(looks)
        looks.close()
    [paid] = [event for event in found if event["type"] == "invoice-paid"]
    assert (paid["number"], paid["about"]) == (2, "<class 'object'>")
    assert (paid["hostname"], paid["pid"]) == (dispatcher.hostname, dispatcher.pid)


def test_no_statement_of_the_core_knows_events() -> None:
    """So tasks and idle workers pay nothing for monitors."""
    folder = Path(lavoro.store.__file__).parent / "sql"
    files = [path for path in folder.glob("*.sql") if path.stem.startswith(CORE)]
    assert len(files) > 15
    assert [path.stem for path in files if "event" in path.read_text()] == []


def test_a_camera_takes_pictures(shop: Lavoro) -> None:
    class Camera(Polaroid):
        clear_after = True
        seen: list[int]

        def on_shutter(self, state: Any) -> None:
            self.seen = [*getattr(self, "seen", ()), len(state.tasks)]

    state = shop.events.State()
    common = {"uuid": "1", "hostname": "one@here", "timestamp": 1.0, "local_received": 1.0}
    state.event({"type": "task-received", "name": "add", "clock": 1, **common})
    state.event({"type": "task-succeeded", "clock": 2, **common})
    camera = Camera(state, freq=3600, maxrate="1/h", app=shop)
    with camera:
        camera.capture()
    assert (camera.seen, len(state.tasks)) == ([1], 0)


@pytest.mark.parametrize(
    ("type", "key", "expected"),
    [
        ("task-failed", "#", True),
        ("task-failed", "task.#", True),
        ("task-failed", "task.*", True),
        ("task-failed", "*.failed", True),
        ("task-failed", "worker.*", False),
        ("task-failed", "task", False),
        ("task-half-done", "task.*", False),
        ("task-half-done", "task.#", True),
    ],
)
def test_routing_keys(type: str, key: str, expected: bool) -> None:
    assert fits(type, key) is expected


def test_rates() -> None:
    assert [rate(text) for text in (None, 2, "2", "30/m", "36/h")] == [0, 2, 2, 0.5, 0.01]
    with pytest.raises(ValueError, match="'often' is no rate"):
        rate("often")
