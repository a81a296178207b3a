"""A worker's ordinary life: signals, logs, what it costs when idle, tasks it does not know, a loop that is blocked."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import make_url

from lavoro import Lavoro
from tests.conftest import Eventually
from tests.worker.conftest import PATIENCE, Ledger, StartWorker, rows


def test_signals_and_json_log(start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger) -> None:
    """Celery's names: init in each process, ready and shutdown once for the worker. The log is JSON, line by line."""
    worker = start_worker("--processes", "2", "--log-format", "json", url=migrated_url)
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    assert worker.stop() == 0
    noted = [" ".join(line[1:]) for line in ledger.lines("signal")]
    assert sorted(noted[:4]) == ["worker_init Child"] * 2 + ["worker_process_init str"] * 2
    assert noted[4:] == ["worker_ready Child", "worker_shutting_down str SIGTERM Warm", "worker_shutdown Child"]
    lines = [json.loads(line) for line in worker.log.splitlines()]
    assert {line["process"] for line in lines} >= {"MainProcess"}
    (succeeded,) = [line for line in lines if "succeeded" in line["message"]]
    assert succeeded["task_name"] == "add"


def test_signals_of_the_start_may_set_up_the_worker(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """celeryd_init changes the settings of a node by its name; heartbeat_sent comes while the loop turns."""
    (tmp_path / "started.py").write_text(
        """
from lavoro import signals
from tests.worker.app import note

@signals.celeryd_init.connect(sender="night@host")
def set_up(sender, instance, conf, options, **_):
    conf.task_time_limit = 77
    note("signal", "celeryd_init", sender, instance.hostname, instance.app.main, options["include"])

@signals.celeryd_after_setup.connect
def begin(sender, instance, conf, **_):
    note("signal", "celeryd_after_setup", sender, instance.hostname, conf.task_time_limit)

@signals.heartbeat_sent.connect
def beat(sender, **_):
    note("beat", sender.hostname)
"""
    )
    worker = start_worker(
        "-n", "night@host", "-I", "started", url=migrated_url, environment={"PYTHONPATH": f"{tmp_path}:."}
    )
    eventually(lambda: len(ledger.lines("beat")) >= 2, timeout=PATIENCE, why="the loop turns for 2 seconds")
    assert worker.stop() == 0
    noted = [" ".join(line[1:]) for line in ledger.lines("signal")]
    assert noted[:3] == [
        "celeryd_init night@host night@host tests ['started']", "worker_init Child",
        "celeryd_after_setup night@host night@host 77",
    ]  # fmt: skip
    assert ledger.lines("beat")[0][1:] == ["night@host"]


def test_unknown_task_is_offered_again(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    """Another release may know it: it waits, less often each time, with the reason, and is run by who knows it."""
    worker = start_worker("-n", "old@host", url=migrated_url)
    result = sender.send_task("of_another_release", [1], task_id="mine")
    eventually(
        lambda: worker.log.count("task of_another_release[mine]") >= 4, timeout=PATIENCE, why="it is offered again"
    )
    eventually(lambda: rows(sender, "select * from lavoro.waiting"), timeout=PATIENCE, why="it waits")
    ((reason, attempt, wait),) = rows(
        sender, "select reason, attempt, extract(epoch from due_at - created_at)::float from lavoro.waiting"
    )
    assert reason == "worker old@host knows no task 'of_another_release'"
    assert attempt == 0
    assert wait >= 0.2 * 2**3 * 0.9  # it has doubled each time
    assert worker.log.count("received unregistered task of_another_release[mine]; requeued") < 8
    assert result.state == "PENDING"
    (tmp_path / "newer.py").write_text(
        "from tests.worker.app import app\n@app.task(name='of_another_release')\ndef f(x): return x\n"
    )
    start_worker("-n", "new@host", "-I", "newer", url=migrated_url, environment={"PYTHONPATH": f"{tmp_path}:."})
    sent = [sender.send_task("of_another_release", [number]) for number in range(4)]
    assert [result.get(timeout=PATIENCE) for result in sent] == [0, 1, 2, 3]


def wake_ups(process: psutil.Process) -> int:
    """How many times its threads have waited for something."""
    statuses = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/status")]
    return sum(int(status.split("voluntary_ctxt_switches:")[1].split()[0]) for status in statuses)


@pytest.mark.slow
@pytest.mark.parametrize("schedules", [0, 10_000])
def test_idle_worker_is_cheap(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, eventually: Eventually, schedules: int
) -> None:
    """Few statements and wake-ups from one renewal to the next, next to no CPU, no more connections than promised.

    Schedules that are not due cost nothing, however many there are.
    """
    with sender.database.engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into lavoro.schedule (name, task, timing, next_at, due_at) select 's' || i, 'add', '@daily', x, x"
            f" from generate_series(1, {schedules}) i, (select clock_timestamp() + interval '1 day') t (x)"
        )
    worker = start_worker("-c", "50", url=migrated_url)
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    available = "select from pg_available_extensions where name = 'pg_stat_statements'"
    if not rows(sender, available) or "pg_stat" not in rows(sender, "show shared_preload_libraries")[0][0]:
        pytest.skip("this PostgreSQL does not count statements")
    rows(sender, "create extension pg_stat_statements")
    sender.close()  # it listens for results, too
    everybody = [psutil.Process(worker.process.pid), *worker.children]
    count = (
        "select sum(calls) from pg_stat_statements s join pg_database d on d.oid = s.dbid"
        " where datname = current_database() and query !~ 'pg_stat|pg_database|BEGIN|COMMIT|set_config|max.seen_at'"
    )
    renewed = "select max(seen_at) from lavoro.worker"

    def measure() -> tuple[float, float, int, int]:
        """The time, and CPU, wake-ups and statements until then; just after a renewal."""
        last = rows(sender, renewed)
        eventually(lambda: rows(sender, renewed) != last, timeout=PATIENCE, why="the lease is renewed")
        spent = sum(sum(process.cpu_times()[:2]) for process in everybody)
        return time.monotonic(), spent, sum(map(wake_ups, everybody)), int(rows(sender, count)[0][0] or 0)

    retained = (
        "select from pg_stat_statements s join pg_database d on d.oid = s.dbid"
        " where datname = current_database() and query like '%%revoked_at < clock_timestamp()%%'"
    )
    eventually(lambda: rows(sender, retained), timeout=PATIENCE, why="the first round of retention has passed")
    before, after = measure(), measure()
    elapsed, cpu, woken, statements = (later - sooner for sooner, later in zip(before, after, strict=True))
    assert statements <= 5
    assert woken / elapsed < 80
    assert cpu / elapsed < 0.1
    names = (
        "select application_name from pg_stat_activity"
        " where datname = current_database() and application_name like 'lavoro-%%' order by 1"
    )
    connections = [name for (name,) in rows(sender, names)]
    assert connections == ["lavoro-claimer", "lavoro-finisher", "lavoro-listener", "lavoro-upkeep"]


def test_usr1_tells_where_it_is(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually, tmp_path: Path
) -> None:
    worker = start_worker("-P", "threads", "-c", "1", url=migrated_url)
    result = sender.send_task("hold", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(result.id), timeout=PATIENCE, why="it runs")
    worker.send(signal.SIGUSR1)
    worker.until("in hold")
    (tmp_path / "gate").touch()
    assert result.get(timeout=PATIENCE) == "held"


def test_purge_at_start(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    sender.send_task("add", [1, 2])
    kept = sender.send_task("add", [3, 4], queue="kept")
    start_worker("--purge", url=migrated_url).until("purged 1 task from celery")
    assert rows(sender, "select id::text from lavoro.tasks") == [(kept.id,)]


def test_quick_tasks_do_not_wait_behind_a_long_one_while_another_process_is_idle(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str
) -> None:
    """They were claimed ahead, for tasks were quick before; the best of some rounds, for machines are busy."""
    start_worker("-P", "prefork", "-c", "2", url=migrated_url)
    nap = sender.task(name="nap")(lambda seconds: seconds)
    lasted = (
        "select extract(epoch from max(finished_at) - (select max(started_at) from lavoro.finished where {0}))::float8"
    )
    waits = []
    for _ in range(4):
        quick = nap.delay_many([(0.001,)] * 400 + [(2.5,)] + [(0.001,)] * 200)
        assert len([result.get(timeout=PATIENCE) for result in quick]) == 601
        long = "args::text like '%%2.5%%'"
        waits.append(rows(sender, f"{lasted.format(long)} from lavoro.finished where not {long}")[0][0])
        if waits[-1] < 0.8:
            return
    pytest.fail(f"the last quick task ended so many seconds after the long one had begun: {waits}")


@pytest.mark.parametrize("arguments", [["--prefetch-multiplier", "1"], ["--disable-prefetch"]])
def test_nothing_is_claimed_ahead_if_that_is_switched_off(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, ledger: Ledger, eventually: Eventually,
    arguments: list[str],
) -> None:  # fmt: skip
    """However quick tasks were before: what comes after two long ones waits in its table."""
    start_worker("-P", "threads", "-c", "2", *arguments, url=migrated_url)
    nap = sender.task(name="nap")(lambda seconds: seconds)
    results = nap.delay_many([(0.001,)] * 500 + [(2.5,)] * 2 + [(0.002,)] * 98)
    long = [result.id for result in results[500:502]]
    eventually(lambda: all(map(ledger.starts, long)), timeout=PATIENCE, why="both run")
    assert rows(sender, "select count(*) from lavoro.running where args::text like '%%0.002%%'") == [(0,)]
    assert len([result.get(timeout=PATIENCE) for result in results]) == 600


def test_a_process_knows_the_command_line(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    """Code asks whether it runs in a worker, when it is imported and later."""
    start_worker("-c", "1", url=migrated_url)
    imported, later = sender.send_task("argv").get(timeout=PATIENCE)
    assert imported == later
    assert imported[0].endswith("__main__.py")
    assert imported[1:] == ["worker", "-A", "tests.worker.app", "-l", "info", "-c", "1"]


@pytest.mark.parametrize("blocked", [False, True])
def test_no_password_is_in_a_list_of_processes(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path, ledger: Ledger,
    eventually: Eventually, blocked: bool,
) -> None:  # fmt: skip
    """Of its processes; a process that is blocked has a fencing process, too."""
    secret = make_url(migrated_url).set(password="s3cret-word")
    environment = {"LAVORO_WORKER_BROKER": secret.render_as_string(hide_password=False)}
    worker = start_worker("-c", "1", url="postgresql://127.0.0.1:1/nowhere", environment=environment)
    task = sender.send_task("burn" if blocked else "hold", [str(tmp_path / "gate")])
    eventually(lambda: ledger.starts(task.id), timeout=PATIENCE, why="it runs")
    processes = psutil.Process(worker.process.pid).children
    if blocked:
        eventually(lambda: len(processes()) == 2, timeout=PATIENCE, why="it has a fencing process")
    everybody = [psutil.Process(worker.process.pid), *processes()]
    assert not [line for line in map(psutil.Process.cmdline, everybody) if "s3cret-word" in " ".join(line)]
    assert "s3cret-word" not in worker.log
    (tmp_path / "gate").touch()
    assert task.get(timeout=PATIENCE) == ("burnt" if blocked else "held")


def test_queues(start_worker: StartWorker, sender: Lavoro, migrated_url: str) -> None:
    """A worker serves the queues it was told to, minus those it was told not to."""
    start_worker("-Q", "mail,video,audio", "-X", "video", url=migrated_url)
    mail, video, audio = (sender.send_task("add", [1, 1], queue=queue) for queue in ("mail", "video", "audio"))
    assert (mail.get(timeout=PATIENCE), audio.get(timeout=PATIENCE)) == (2, 2)
    assert video.state == "PENDING"


def test_pool_from_the_settings(start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path) -> None:
    """The first child is made for gevent; when the settings ask for another pool, another takes its place."""
    (tmp_path / "threaded.py").write_text("from tests.worker.app import app\napp.conf.worker_pool = 'threads'\n")
    environment = {"PYTHONPATH": f"{tmp_path}:."}
    worker = start_worker(app="threaded", url=migrated_url, environment=environment)
    assert " ready: threads" in worker.log
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    assert worker.stop() == 0


def test_module_that_breaks_at_a_reload(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path
) -> None:
    """The worker tries again, ever less often, and says why; it recovers by itself."""
    module = tmp_path / "fickle.py"
    good = "from tests.worker.app import app\n"
    module.write_text(good)
    worker = start_worker("-c", "1", app="fickle", url=migrated_url, environment={"PYTHONPATH": f"{tmp_path}:."})
    module.write_text(good + "raise ValueError('broken release')\n")
    worker.send(signal.SIGHUP)
    worker.until("a new process cannot work: the application 'fickle' could not be loaded: ValueError: broken release")
    module.write_text(good + "# mended\n")
    assert sender.send_task("add", [1, 2]).get(timeout=PATIENCE) == 3
    assert worker.stop() == 0


def test_nothing_waits_behind_a_long_task(
    start_worker: StartWorker, sender: Lavoro, migrated_url: str, tmp_path: Path
) -> None:
    """What a process has claimed ahead goes back when it waits there while another process has room."""
    start_worker("-P", "prefork", "-c", "2", url=migrated_url)
    for result in [sender.send_task("add", [number, 1]) for number in range(200)]:
        result.get(timeout=PATIENCE)
    quick = [sender.send_task("add", [number, 1]) for number in range(50)]
    held = sender.send_task("hold", [str(tmp_path / "gate")])
    quick += [sender.send_task("add", [number, 1]) for number in range(50)]
    assert sum(result.get(timeout=PATIENCE) for result in quick) == 2 * sum(range(1, 51))
    (tmp_path / "gate").touch()
    assert held.get(timeout=PATIENCE) == "held"
