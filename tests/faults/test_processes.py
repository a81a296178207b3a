"""Processes are killed, stopped and told to leave, in every way and at every moment."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time

import psutil
import pytest

from tests.faults.checker import rejected_ends, spans
from tests.faults.plugin.rig_changes import FINISH
from tests.faults.trial import Trial
from tests.worker.conftest import PATIENCE, Worker

NOTICED = 1.0
"""Seconds in which a dead child's tasks run again; the rest is for machines that have better things to do."""
SLACK = 4.0


def test_children_killed_at_random_moments(trial: Trial) -> None:
    """Rows 1, 51: their tasks run again, the other children do not notice, the supervisor makes new ones."""
    worker = trial.worker("-c", "4", "--processes", "2", settings={"lavoro_max_crashes": 50})
    dice, producer = random.Random(trial.seed), trial.producer()
    killed = 0
    while killed < 5:
        for number in range(12):
            producer.send("echo", number, 0.2)
        time.sleep(dice.uniform(0, 0.6))
        with contextlib.suppress(psutil.NoSuchProcess):
            if busy := trial.busy():
                psutil.Process(dice.choice(busy)).kill()
                killed += 1
    trial.drain()
    assert worker.process.poll() is None
    trial.stop()
    known = trial.verify(slots=4, max_crashes=50)
    lost = [start for story in known.stories().values() for start in story.starts if start.token not in story.ends]
    assert len(lost) <= 4 * killed
    assert {row.state for row in known.attempts} == {"LOST"}


def test_dead_child_is_noticed_within_a_second(trial: Trial) -> None:
    """Rows 1 and 7: also when it dies of a null pointer; recovery is promised within a second."""
    worker = trial.worker("-c", "1", "--processes", "2", settings={"lavoro_poll_interval": 1.0})
    id = trial.producer().send("hold", trial.gate)
    trial.until(lambda: trial.starts(id), why="it runs")
    [start] = trial.starts(id)
    trial.promise(NOTICED + SLACK, "the task of a dead child", id=id)
    psutil.Process(start.pid).kill()
    trial.until(lambda: len(trial.starts(id)) == 2, why="it runs again")
    trial.open_gate()
    trial.drain()
    assert worker.process.poll() is None
    trial.stop()
    trial.verify(slots=1)


@pytest.mark.parametrize(("point", "starts"), [("die", 2), ("die after", 1)])
def test_child_killed_between_the_end_of_a_task_and_its_commit(trial: Trial, point: str, starts: int) -> None:
    """Row 2: before the commit the task runs again, after it never."""
    trial.worker("-c", "2", points=[{"statement": FINISH, "kind": point, "times": 1}], lease=2)
    id = trial.producer().send("echo", 1)
    trial.until(lambda: trial.starts(id), why="it runs")
    trial.workers[0].until("was ended by signal 9")
    trial.workers[0].destroy()  # its next child would meet the same end
    trial.worker("-c", "2", lease=2)
    trial.drain()
    trial.stop()
    known = trial.verify(slots=2, logs="")  # the first node is killed, perhaps before it logs what its child had begun
    assert len(known.stories()[id].starts) >= starts
    assert (len(known.stories()[id].starts) == 1) == (starts == 1)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["-P", "prefork", "--max-tasks-per-child", "1"]])
def test_task_that_ends_its_process_after_it_has_returned(trial: Trial, arguments: list[str]) -> None:
    """Rows 2 and 8: before its outcome is stored, each time; it ends as those do that end it while they run."""
    trial.worker("-c", "2", *arguments, points=[{"statement": FINISH, "kind": "die"}])
    id = trial.producer().send("echo", 1, expect=["FAILURE"])
    trial.drain()
    assert len(trial.starts(id)) == 3
    assert trial.rows("select state, crashes, result->>'exc_type' from lavoro.finished") == [
        ("FAILURE", 3, "WorkerLostError")
    ]
    trial.workers[0].destroy()


def test_a_killed_supervisor_leaves_no_children(trial: Trial) -> None:
    """Row 3: its children leave by themselves, and nothing they ran is lost or runs twice at a time."""
    worker = trial.worker("-c", "4", "--processes", "2", "--grace", "1")
    producer = trial.producer()
    for number in range(8):
        producer.send("echo", number, 0.5 if number % 2 else 3.0)
    trial.until(lambda: len(trial.starts()) >= 6, why="they run")
    children = worker.children
    worker.process.kill()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE)
    assert not alive
    assert trial.rows("select distinct attempt, crashes from lavoro.waiting") == [(0, 0)]  # nobody is to blame
    trial.worker("-c", "4")
    trial.drain()
    trial.stop()
    trial.verify(slots=4, orderly=True)


@pytest.mark.slow
def test_every_signal_at_every_moment(trial: Trial) -> None:
    """Row 4: the exit code is 0, unfinished tasks go back uncounted, whatever is sent when."""
    orders = [["TERM"], ["INT", "TERM"], ["QUIT"], ["HUP", "TERM"], ["TERM", "HUP", "QUIT"], ["TERM", "TERM", "TERM"]]
    dice = random.Random(trial.seed)
    producer = trial.producer()
    for number in range(12):
        producer.send("echo", number, 20.0)
    for _ in orders:
        trial.worker("-c", "2", "--grace", "0.5", ready=False)
    time.sleep(dice.uniform(0.3, 1.5))  # some are starting, some claim, some run
    for worker, names in zip(trial.workers, orders, strict=True):
        print(worker.process.pid, names)
        for name in names:
            with contextlib.suppress(ProcessLookupError):
                worker.send(getattr(signal, f"SIG{name}"))
            time.sleep(dice.uniform(0, 0.3))
    # Before a worker has set up its handlers, a signal ends it as it ends any program.
    for worker, names in zip(trial.workers, orders, strict=True):
        # Where this runs in the background of a shell, a signal that comes before the handlers are set up is ignored.
        if not settled(worker):
            worker.send(getattr(signal, f"SIG{names[-1]}"))
        trial.until(lambda worker=worker: worker.process.poll() is not None, why=f"{worker.process.args} ends")
    codes = [worker.process.returncode for worker in trial.workers]
    by_default = [-signal.SIGTERM, -signal.SIGINT, -signal.SIGQUIT, -signal.SIGHUP]
    assert all(code in (0, 1, *by_default) for code in codes), codes
    trial.until(lambda: trial.rows("select 1 from lavoro.running") == [], why="nothing is held by workers that left")
    assert trial.rows("select distinct attempt, crashes from lavoro.waiting") == [(0, 0)]
    trial.verify(slots=2, orderly=True, drained=False)


def settled(worker: Worker) -> bool:
    """Whether it has ended within some seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.process.wait(10)
    return worker.process.poll() is not None


@pytest.mark.slow
def test_stopping_workers_under_load(trial: Trial) -> None:
    """Row 4 again: what is drained and what is requeued adds up, and no attempt is used."""
    producer = trial.producer()
    for number in range(60):
        producer.send("echo", number, 0.2)
    for name in ("SIGTERM", "SIGQUIT"):
        worker = trial.worker("-c", "4", "--grace", "2")
        done = trial.finished()
        trial.until(lambda done=done: trial.finished() > done, why="it works")
        worker.send(getattr(signal, name))
        assert worker.wait() == 0
    assert trial.rows("select 1 from lavoro.attempt") == []
    trial.worker("-c", "20")
    trial.drain()
    trial.stop()
    trial.verify(slots=20, orderly=True)


@pytest.mark.slow
def test_poison_of_all_kinds(trial: Trial) -> None:
    """Rows 5, 7, 8: each ends as FAILURE after three starts, with the reason; the others flow, the supervisor lives."""
    worker = trial.worker("-c", "2")
    producer = trial.producer()
    kinds = {"null": "signal 11", "exit": "code 3"}  # SIGKILL and SIGABRT end a process in the same way
    poison = {how: producer.send("die", how, expect=("FAILURE",), detail={"poison": True}) for how in kinds}
    for id in poison.values():  # what is sent now shares two crashes at most: with a third it would be blamed as well
        lost = f"select count(*) from lavoro.attempt where id = '{id}'"
        trial.until(lambda lost=lost: trial.rows(lost) == [(2,)], why="it has crashed twice")
    for number in range(30):
        producer.send("echo", number)
    trial.drain(2 * PATIENCE)
    assert worker.process.poll() is None
    trial.stop()
    known = trial.verify(slots=2)
    for how, id in poison.items():
        [done] = known.stories()[id].done
        assert kinds[how] in str(done.result), how
        assert len(known.stories()[id].starts) == 3


def test_frozen_node(trial: Trial) -> None:
    """Row 44: stopped past its lease and continued: whatever it does then is refused, and the worker goes on."""
    frozen = trial.worker("-c", "2", "-n", "frozen", lease=3)
    id = trial.producer().send("echo", 1, 1.5)
    trial.until(lambda: trial.starts(id), why="it runs")
    everybody = trial.processes()
    trial.ledger.write("frozen", pids=[process.pid for process in everybody])
    for process in everybody:
        process.suspend()
    trial.worker("-c", "2", "-n", "heir", lease=3)
    trial.until(lambda: len(trial.starts(id)) == 2, why="another has taken it over")
    for process in reversed(everybody):  # children first: nobody warns them
        process.resume()
    trial.ledger.write("thawed", pids=[process.pid for process in everybody])
    trial.drain()
    trial.producer().send("echo", 2)
    trial.drain()
    frozen.until("lease")
    trial.stop()
    known = trial.verify(slots=2)
    first, second = spans(known.stories()[id])
    assert [done.attempt for done in known.stories()[id].done] == [2]
    assert rejected_ends(known) <= 1
    assert first.start.pid != second.start.pid


@pytest.mark.slow
def test_node_that_does_not_fence_itself(trial: Trial) -> None:
    """Row 44, and the second line of defence: what it ends late reaches the database, is refused there, and told."""
    frozen = trial.worker("-c", "4", "-n", "frozen", lease=3, mutants=["never fences"])
    producer = trial.producer()
    ids = [producer.send("echo", number, 1.0) for number in range(4)]
    trial.until(lambda: len(trial.starts()) == 4, why="they run")
    everybody = trial.processes()
    trial.ledger.write("frozen", pids=[process.pid for process in everybody])
    for process in everybody:
        process.suspend()
    trial.worker("-c", "4", "-n", "heir", lease=3)
    trial.drain()
    supervisor, *children = everybody
    for process in children:
        process.resume()  # its supervisor would learn that the lease was lost, and end it
    trial.until(lambda: frozen.log.count("was refused: start 1 had lost its lease") == 4, why="all are refused")
    supervisor.resume()
    trial.ledger.write("thawed", pids=[process.pid for process in everybody])
    trial.stop()
    known = trial.verify(slots=4)
    assert [known.stories()[id].done[0].attempt for id in ids] == [2] * 4
    assert rejected_ends(known) == 4
