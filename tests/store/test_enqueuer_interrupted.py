"""Sending that is interrupted anywhere: by another call of the same thread, or by an exception from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import lavoro
from lavoro import Lavoro
from lavoro.protocol.message import Message
from lavoro.store.database import Database
from lavoro.store.enqueuer import Enqueuer
from lavoro.store.tx import Tx
from tests.conftest import Eventually
from tests.store.test_enqueuer import Interrupted, Staged
from tests.store.walk import message, rows, value

PACKAGE = str(Path(lavoro.__file__).parent)
INSTRUCTIONS = ("enqueuer.py", "repeats.py")
"""Where the exception comes between two instructions; elsewhere between two lines."""


class Interruption:
    """Does something once in this thread, at the given step of the package's own code."""

    def __init__(self, step: int, action: Callable[[], object]) -> None:
        self.step, self._action = step, action

    @contextlib.contextmanager
    def watching(self) -> Iterator[Interruption]:
        sys.settrace(self._call)
        try:
            yield self
        finally:
            sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE) or frame.f_code.co_name == "__del__":
            return None  # no exception of a finalizer reaches the code in which the collector runs it
        frame.f_trace_opcodes = frame.f_code.co_filename.endswith(INSTRUCTIONS)
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == ("opcode" if frame.f_trace_opcodes else "line"):
            self.step -= 1
            if self.step == 0:
                sys.settrace(None)
                self._action()
        return self._step


def within(seconds: float, work: Callable[[], object]) -> None:
    """Do it in a thread, which must not hang."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"


def test_a_call_inside_of_a_call(migrated_url: str) -> None:
    """A signal handler or a finalizer sends at each line of the package that a call goes through."""
    with Lavoro("shop", broker=migrated_url, set_as_current=False) as app:
        sent, step = list[str](), 0

        def inner() -> None:
            sent.append(app.send_task("inner").id)

        def all_steps() -> None:
            nonlocal step
            while True:
                step += 1
                if step % 40 == 1:
                    app.database.dispose()  # so that connections are made and borrowed anew
                with Interruption(step, inner).watching() as interruption:
                    sent.append(app.send_task("outer").id)
                if interruption.step > 0:
                    break

        within(200, all_steps)
        assert step > 100
        with app.database.tx() as tx:
            assert sorted(sent) == sorted(str(row[0]) for row in rows(tx, "select id from lavoro.waiting"))


def test_a_signal_while_the_turn_is_another_threads(database: Database, tx: Tx, eventually: Eventually) -> None:
    gate, first, inner = threading.Event(), threading.Event(), message()

    def before(messages: Sequence[Message]) -> None:
        if messages[0].name == "first":
            first.set()
            assert gate.wait(60)

    enqueuer = Staged(database, before)

    def handler(number: int, frame: object) -> None:
        enqueuer.insert([inner])
        gate.set()

    def interrupt() -> None:
        eventually(lambda: enqueuer.waiting == 1, why="the main thread waits for its turn")
        os.kill(os.getpid(), signal.SIGUSR1)

    known = signal.signal(signal.SIGUSR1, handler)
    try:
        threads = [threading.Thread(target=enqueuer.insert, args=([message(name="first")],))]
        threads.append(threading.Thread(target=interrupt))
        threads[0].start()
        assert first.wait(60)
        threads[1].start()
        enqueuer.insert([message()])
    finally:
        signal.signal(signal.SIGUSR1, known)
        gate.set()
    for thread in threads:
        thread.join(60)
    assert value(tx, "select count(*) from lavoro.waiting") == 3


def test_a_call_inside_of_a_call_of_many(migrated_url: str) -> None:
    """With the only connection of the pool in use below."""
    options = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 0.5}
    with Lavoro("shop", broker=migrated_url, set_as_current=False, database_engine_options=options) as app:
        enqueuer, borrow = app.database.own(Enqueuer), app.database.tx

        def meanwhile() -> contextlib.AbstractContextManager[Tx]:
            with borrow():
                app.send_task("inner")
            return borrow()

        app.database.tx = meanwhile  # type: ignore[method-assign]
        within(60, lambda: enqueuer.insert([message(), message()]))
        with borrow() as tx:
            assert value(tx, "select count(*) from lavoro.waiting") == 3


def test_an_exception_anywhere_leaves_the_turn_to_others(database: Database, tx: Tx) -> None:
    """A lone call; another thread sends after it."""
    enqueuer, step = Staged(database, lambda messages: None), 0

    def interrupt() -> None:
        raise Interrupted

    while True:
        step += 1
        with contextlib.suppress(Interrupted), Interruption(step, interrupt).watching() as interruption:
            enqueuer.insert([message()])
        within(20, lambda: enqueuer.insert([message(name="after")]))
        assert enqueuer.at_rest, step
        if interruption.step > 0:
            break
    assert step > 100
    assert value(tx, "select count(*) from lavoro.waiting where name = 'after'") == step


def test_an_exception_anywhere_while_others_wait(database: Database, tx: Tx, eventually: Eventually) -> None:
    """It hits the one who stores for all: the others are stored once, by one of them."""
    step, hit = 0, True
    while hit:
        step += 1
        hit = storing_for_others(database, eventually, step)
    assert step > 100
    assert value(tx, "select count(*) from lavoro.waiting where name = 'other'") == 2 * step
    assert value(tx, "select count(distinct id) from lavoro.waiting where name = 'other'") == 2 * step


def storing_for_others(database: Database, eventually: Eventually, step: int) -> bool:
    """Three wait for a fourth; the first of them stores for all, and is hit; tell whether it was."""
    gate, first, hit = threading.Event(), threading.Event(), list[bool]()

    def before(messages: Sequence[Message]) -> None:
        if messages[0].name == "first":
            first.set()
            assert gate.wait(60)

    def interrupt() -> None:
        raise Interrupted

    enqueuer = Staged(database, before)

    def leader() -> None:
        with contextlib.suppress(Interrupted), Interruption(step, interrupt).watching() as interruption:
            enqueuer.insert([message(name="leader")])
        hit.append(interruption.step <= 0)

    def start(target: Callable[[], object], waiting: int) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        eventually(lambda: enqueuer.waiting == waiting or not thread.is_alive())
        return thread

    threads = [start(lambda: enqueuer.insert([message(name="first")]), 0)]
    assert first.wait(60)
    threads.append(start(leader, 1))
    pending = enqueuer.waiting
    threads += [start(lambda: enqueuer.insert([message(name="other")]), pending + number) for number in (1, 2)]
    gate.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), f"it hangs after an exception at step {step}"
    assert enqueuer.at_rest, step
    return hit[0]


GREENLETS = """
    from gevent import monkey; monkey.patch_all()
    import random, sys, gevent
    from lavoro import Lavoro

    app, choice, sent, unknown = Lavoro("shop", broker=sys.argv[1]), random.Random(3), [], []

    def send(number):
        for _ in range(20):
            try:
                with gevent.Timeout(choice.uniform(0, 0.05) if number % 3 == 0 else None):
                    sent.append(app.send_task("x").id)
            except gevent.Timeout:
                unknown.append(number)

    senders = [gevent.spawn(send, number) for number in range(30)]
    while not all(sender.ready() for sender in senders[:20]):
        gevent.sleep(choice.uniform(0, 0.01))
        choice.choice(senders[20:]).kill(block=False)
    gevent.joinall(senders, timeout=60, raise_error=True)
    assert all(sender.ready() for sender in senders), "a greenlet hangs"
    assert unknown, "nobody was interrupted"
    assert len(sent) > 200
    print(*sent)
"""


def test_greenlets_that_are_killed_and_timed_out_inside(database: Database, tx: Tx) -> None:
    command = [sys.executable, "-c", textwrap.dedent(GREENLETS), database.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    stored = {str(row[0]) for row in rows(tx, "select id from lavoro.waiting")}
    assert set(done.stdout.split()) <= stored
