"""Commands reach workers: each once, within milliseconds, and the answers have Celery's shapes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lavoro import AsyncResult, Lavoro, chain
from lavoro.control.standard import NO_LIMITS
from lavoro.exceptions import TaskRevokedError
from lavoro.store.queues import worker_status
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows

COMMANDED = "tests.worker.commanded"


@pytest.fixture
def two(start_worker: StartWorker, migrated_url: str) -> list[Any]:
    return [start_worker("-c", "3", "-n", f"{name}@here", url=migrated_url, app=COMMANDED) for name in ("one", "two")]


def test_questions_and_commands(
    two: list[Any], sender: Lavoro, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """All in one pair of workers, which take seconds to start."""
    control = sender.control
    inspect = control.inspect(timeout=PATIENCE)
    assert inspect.ping() == {"one@here": {"ok": "pong"}, "two@here": {"ok": "pong"}}
    assert sorted(control.ping(timeout=PATIENCE), key=list) == [
        {node: {"ok": "pong"}} for node in ("one@here", "two@here")
    ]
    assert control.ping(destination=["two@here"], timeout=PATIENCE) == [{"two@here": {"ok": "pong"}}]
    assert control.inspect("one@here", timeout=PATIENCE).ping() == {"ok": "pong"}
    assert control.ping(timeout=PATIENCE, limit=1)
    assert len(control.ping(timeout=PATIENCE, limit=1)) == 1
    assert control.broadcast("ping", reply=True, pattern="t*", timeout=PATIENCE) == [{"two@here": {"ok": "pong"}}]
    assert control.broadcast("ping", reply=True, pattern="(one|none)", matcher="pcre", timeout=PATIENCE) == [
        {"one@here": {"ok": "pong"}}
    ]
    gate = tmp_path / "gate"
    held = sender.send_task("hold", [str(gate)])
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    active = [task for tasks in (inspect.active() or {}).values() for task in tasks]
    assert [(task["id"], task["name"], task["args"]) for task in active] == [(held.id, "hold", [str(gate)])]
    later = sender.send_task("add", [1, 2], countdown=3600)
    assert [task["request"]["id"] for tasks in (inspect.scheduled() or {}).values() for task in tasks] == [later.id]
    found = inspect.query_task(held.id, later.id) or {}
    states = {id: state for tasks in found.values() for id, (state, _) in tasks.items()}
    assert states == {held.id: "active", later.id: "scheduled"}
    control.revoke("00000000-0000-4000-8000-000000000000")
    assert inspect.revoked() == {key: ["00000000-0000-4000-8000-000000000000"] for key in ("one@here", "two@here")}
    assert "add" in (inspect.registered() or {})["one@here"]
    assert "add [max_retries=3]" in (inspect.registered("max_retries") or {})["one@here"]
    stats = (inspect.stats() or {})["one@here"]
    assert stats["pid"] == two[0].process.pid
    assert stats["pool"]["max-concurrency"] == 3
    assert stats["pool"]["processes"] == [child.pid for child in two[0].children]
    assert "software -> lavoro" in (inspect.report() or {})["one@here"]["ok"]
    assert (inspect.conf() or {})["one@here"]["lavoro_unknown_task_delay"] == 0.2
    sender.send_task("add", [1, 2]).get(timeout=PATIENCE)
    eventually(
        lambda: [node["total"] for node in (inspect.stats() or {}).values() if node["total"]] == [{"add": 1}],
        timeout=PATIENCE, why="it counts",
    )  # fmt: skip
    # Commands of the application's own
    assert control.broadcast("resize_cache", {"size": 5}, reply=True, destination=["one@here"], timeout=PATIENCE) == [
        {"one@here": {"ok": "one@here: 1 of 5"}}
    ]
    assert "MainThread" in control.broadcast("threads", reply=True, timeout=PATIENCE)[0].popitem()[1]
    for command, words in [("fails", "KeyError: 'nothing there'"), ("unknown", "no such command: 'unknown'")]:
        [reply] = control.broadcast(command, reply=True, destination="one@here", timeout=PATIENCE)
        assert words in reply["one@here"]["error"]
    [reply] = control.broadcast("pool_grow", {"number": 1}, reply=True, destination="one@here", timeout=PATIENCE)
    assert "number" in reply["one@here"]["error"]
    gate.touch()
    assert held.get(timeout=PATIENCE) == "held"
    audit = rows(sender, "select name, sender, session from lavoro.command where name = 'resize_cache'")
    assert [(name, "@" in by) for name, by, _ in audit] == [("resize_cache", True)]
    [reply] = control.broadcast("double", reply=True, destination=["one@here"], timeout=PATIENCE)
    assert "state.consumer has no 'timer'" in reply["one@here"]["error"]
    eventually(
        lambda: (inspect.stats() or {})["one@here"]["pool"]["max-concurrency"] == 4
        and len((inspect.active_queues() or {})["one@here"]) == 2,
        timeout=PATIENCE, why="once for the node",
    )  # fmt: skip
    control.cancel_consumer("letters", reply=True, timeout=PATIENCE)
    eventually(lambda: len((inspect.active_queues() or {})["one@here"]) == 1, timeout=PATIENCE, why="no longer")
    # Queues
    assert {queue["name"] for queue in (inspect.active_queues() or {})["one@here"]} == {"celery"}
    control.add_consumer("mail", destination=["one@here"], reply=True, timeout=PATIENCE)
    assert sender.send_task("add", [1, 2], queue="mail").get(timeout=PATIENCE) == 3
    assert {queue["name"] for queue in (inspect.active_queues() or {})["one@here"]} == {"celery", "mail"}
    control.cancel_consumer("mail", reply=True, timeout=PATIENCE)
    queues = [["celery"], ["celery"]]
    eventually(lambda: [row.queues for row in worker_status(sender.database)] == queues, timeout=PATIENCE, why="all")
    # The end
    control.shutdown(destination=["two@here"])
    assert two[1].wait() == 0
    assert list(inspect.ping() or {}) == ["one@here"]


def test_a_worker_that_answers_no_commands(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    """The setting is for nodes that no one else may command; its tasks are shown all the same."""
    worker = start_worker("-c", "1", "-n", "one@here", "--", "worker.enable_remote_control=0", url=migrated_url)
    assert sender.control.broadcast("shutdown", reply=True, timeout=0.5) == []
    assert sender.control.inspect().active() == {"one@here": []}
    assert worker.process.poll() is None


def test_no_worker(sender: Lavoro) -> None:
    """Nothing is waited for, and nothing is stored."""
    began = time.monotonic()
    assert sender.control.inspect(timeout=60).ping() is None
    assert sender.control.inspect(timeout=60).active() is None
    assert sender.control.broadcast("shutdown", reply=True, timeout=60) == []
    assert time.monotonic() - began < 30
    assert rows(sender, "select * from lavoro.command") == []


def test_tasks_are_revoked_by_their_stamps(
    start_worker: StartWorker, sender: Lavoro, ledger: Ledger, eventually: Eventually, migrated_url: str, tmp_path: Path
) -> None:
    def send(name: str, args: list[Any], customer: Any) -> AsyncResult[Any]:
        return sender.send_task(name, args, stamped_headers=["customer"], customer=customer)

    control = sender.control
    waiting = [send("add", [1, 2], customer) for customer in (7, "7", [6, 7], 8)]
    assert control.revoke_by_stamped_headers({"customer": [7, 9]}) is None
    assert [result.state for result in waiting] == ["REVOKED", "PENDING", "REVOKED", "PENDING"]  # without a worker
    with pytest.raises(ValueError, match="a stamp is written name=value, not 'customer'"):
        control.revoke_by_stamped_headers(["customer"])
    start_worker("-c", "2", "-n", "one@here", url=migrated_url, app=COMMANDED)
    assert [waiting[place].get(timeout=PATIENCE) for place in (1, 3)] == [3, 3]
    for customer in (9, [1, 9]):  # sent later; a stamp that is a list
        with pytest.raises(TaskRevokedError):
            send("add", [1, 2], customer).get(timeout=PATIENCE)
    assert send("add", [1, 2], "9").get(timeout=PATIENCE) == 3
    following = chain(sender.signature("add", [1, 2]), sender.signature("add", [3]).set(**_stamped("9", 9)))
    with pytest.raises(TaskRevokedError):  # the step that begins in the process of the one before
        following.apply_async().get(timeout=PATIENCE)
    held = send("hold", [str(tmp_path / "gate")], "x")
    eventually(lambda: ledger.starts(held.id), timeout=PATIENCE, why="it runs")
    words = "headers {'customer': 'x'} flagged as revoked, but not terminated"
    assert control.revoke_by_stamped_headers({"customer": "x"}, reply=True) == [{"one@here": {"ok": words}}]
    assert not held.ready()
    held.revoke_by_stamped_headers({"customer": "x"}, terminate=True)
    with pytest.raises(TaskRevokedError):
        held.get(timeout=PATIENCE)
    words = "headers {'customer': 'y'} were not terminated"
    [reply] = control.broadcast("revoke_by_stamped_headers", {"headers": ["customer=y"], "terminate": True}, reply=True)
    assert reply == {"one@here": {"ok": words}}


def test_odd_commands_and_faults(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually
) -> None:
    """Replies that JSON cannot carry, commands that hang, wrong names, a lost listener, processes started later."""
    worker = start_worker("-c", "2", "-n", "one@here", url=migrated_url, app=COMMANDED)
    control = sender.control

    def ask(command: str, timeout: float = PATIENCE, **arguments: Any) -> Any:
        return control.inspect("one@here", timeout=timeout)._request(command, **arguments)

    assert ask("odd", kind="keys") == "{(1, 2): 'pair'}"
    assert ask("odd", kind="number") == "nan"
    assert "[[...]]" in ask("odd", kind="circle")
    assert "object" in ask("odd", kind="object")
    began = time.monotonic()
    assert ask("hangs", timeout=0.5) is None
    assert time.monotonic() - began < 5
    assert ask("ping") == {"ok": "pong"}  # meanwhile
    assert "cannot name a queue" in ask("add_consumer", queue="a\nb")["error"]
    for arguments, words in [({"modules": ["os"]}, "do not import 'os'"), ({"reloader": "r"}, "has nothing to do")]:
        assert words in ask("pool_restart", **arguments)["error"]
    assert ask("rate_limit", task_name="add", rate_limit="5/s") == {"error": NO_LIMITS}
    assert ask("rate_limit", task_name="add", rate_limit=0) == {"ok": "rate limit disabled successfully"}
    assert ask("time_limit", task_name="unknown", soft=1) == {"error": "unknown task"}
    assert ask("memsample").endswith("MB")
    assert "rss (sample)" in ask("memdump")
    # A process that is started later
    control.add_consumer("mail", reply=True, timeout=PATIENCE)
    assert control.time_limit("add", 50, 60, reply=True, timeout=PATIENCE) == [
        {"one@here": {"ok": "time limits set successfully"}}
    ]
    pid = worker.children[0].pid
    os.kill(pid, signal.SIGKILL)
    # While its only process is replaced, a node does not live.
    eventually(lambda: _processes(ask("stats")) not in ([], [pid]), timeout=PATIENCE, why="it is replaced")
    eventually(lambda: ask("limits") == [50, 60], timeout=PATIENCE, why="the process knows the limits")
    assert sender.send_task("add", [1, 2], queue="mail").get(timeout=PATIENCE) == 3
    # A listener that is lost
    for _ in range(3):
        rows(
            sender, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lavoro-listener'"
        )
        assert ask("ping") == {"ok": "pong"}
    # Each command is taken once
    taken = rows(sender, "select count(*), count(distinct (command_id, node)) from lavoro.command_node")
    assert taken[0][0] == taken[0][1]
    assert rows(sender, "select * from lavoro.command_node where taken_at is null") == []


def test_two_supervisors_of_one_name_carry_a_command_out_once(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path
) -> None:
    for _ in range(2):
        start_worker("-c", "1", "-n", "one@here", url=migrated_url, app=COMMANDED)
    lines = tmp_path / "lines"
    for number in range(10):
        arguments = {"path": str(lines), "number": number}
        replies = sender.control.broadcast("note", arguments, reply=True, timeout=PATIENCE)
        assert replies == [{"one@here": number}]
    assert sender.control.ping(timeout=PATIENCE)  # what came before it was carried out
    assert lines.read_text().split() == [str(number) for number in range(10)]


MANY = """
insert into lavoro.worker (node, process, host, pid, pool, slots, queues, release, lease, expires_at, tasks)
select 'node' || number || '@here', 0, 'here', number, 'gevent', 200, array['celery'], '1', '1 hour',
    clock_timestamp() + interval '1 hour', array['add'] from generate_series(1, 51) as number;
insert into lavoro.running (id, worker_id, queue, priority, attempt, retries, crashes, due_at, created_at, name, args)
select gen_random_uuid(), w.id, 'celery', 0, 1, 0, 0, now(), now(), 'add', '[1, 2]'
from lavoro.worker w cross join generate_series(1, 200) where node <> 'node51@here'
"""


def test_ten_thousand_running_tasks_are_listed_by_one_statement(
    sender: Lavoro, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute(MANY)
    statements: list[str] = []
    execute = Tx.execute
    monkeypatch.setattr(Tx, "execute", lambda tx, name, *rest: statements.append(name) or execute(tx, name, *rest))
    found: dict[str, Any] = {}
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        found = sender.control.inspect().active() or {}
        seconds.append(time.perf_counter() - began)
    assert statements == ["list_in_flight"] * 5
    assert sum(map(len, found.values())) == 10_000
    assert (len(found), found["node51@here"]) == (51, [])
    assert min(seconds) < 0.5  # 0.1 on a machine with nothing else to do


def test_an_expired_command_is_not_carried_out(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    worker = start_worker("-c", "1", "-n", "one@here", url=migrated_url, app=COMMANDED)
    os.kill(worker.process.pid, signal.SIGSTOP)
    sender.control.broadcast("resize_cache", {"size": 1}, expires=0.1)
    time.sleep(0.2)  # until it is expired by the server's clock
    os.kill(worker.process.pid, signal.SIGCONT)
    [reply] = sender.control.broadcast("resize_cache", {"size": 2}, reply=True, timeout=PATIENCE)
    assert reply["one@here"]["ok"] == "one@here: 1 of 2"


def _processes(stats: Any) -> list[int]:
    return stats["pool"]["processes"] if stats else []


def _stamped(*values: Any) -> dict[str, Any]:
    return {"stamped_headers": ["customer"], "customer": list(values)}
