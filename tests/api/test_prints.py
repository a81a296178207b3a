"""What tasks print: whole lines of the log, whatever way they print."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.execution import prints
from lavoro.execution.prints import StreamToLog
from tests.executor.run import finished


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Have standard output as a worker has it; in the test's body, for pytest puts its own back before that."""
    stream: Any = StreamToLog(logging.getLogger("printed"), logging.WARNING, io.StringIO())
    with contextlib.redirect_stdout(stream):
        yield
    prints.unfinished.clear()


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_prints_become_whole_lines(caplog: pytest.LogCaptureFixture) -> None:
    with printing():
        print("a", 1)
        print("b", end="")
        thread = threading.Thread(target=print, args=("from a thread",))
        thread.start()
        thread.join()
        print(" c\n\nd")
    assert _said(caplog) == ["a 1", "from a thread", "b c", "d"]


def test_what_a_handler_prints_is_written_through() -> None:
    original = io.StringIO()
    stream: Any = StreamToLog(logging.getLogger("printing"), logging.WARNING, original)

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            print(f"handled {record.getMessage()}", file=stream)

    logger, handler = logging.getLogger("printing"), Printing()
    logger.addHandler(handler)
    try:
        print("x", file=stream)
    finally:
        logger.removeHandler(handler)
    assert original.getvalue() == "handled x\n"


def test_all_ways_to_write(caplog: pytest.LogCaptureFixture) -> None:
    with printing():
        sys.stdout.writelines(["a\n", "b\n"])
        sys.stdout.buffer.write("ü\n".encode()[:1])
        sys.stdout.buffer.write("ü\n".encode()[1:])
        sys.stdout.buffer.writelines([b"c\n", memoryview(b"d\r\n")])
        sys.stdout.buffer.flush()
        sys.stdout.flush()
        assert _said(caplog) == ["a", "b", "ü", "c", "d"]
        assert (sys.stdout.encoding, sys.stdout.errors, sys.stdout.isatty()) == ("utf-8", "replace", False)
        assert sys.stdout.writable()
        assert not sys.stdout.readable()


def test_closing_it_closes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with printing():
        sys.stdout.buffer.close()
        sys.stdout.close()
        print("still here")
    assert _said(caplog) == ["still here"]


def test_the_descriptor_is_that_of_the_stream_it_replaces(capfd: pytest.CaptureFixture[str]) -> None:
    assert StreamToLog(logging.getLogger("printed"), logging.WARNING, sys.__stdout__).fileno() == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("fails", [False, True])
def test_a_line_without_an_end_is_told_when_its_task_ends(caplog: pytest.LogCaptureFixture, fails: bool) -> None:
    with printing():
        app = Lavoro("test", broker="postgresql://127.0.0.1:1/nowhere", set_as_current=False)

        @app.task(name="speak")
        def speak() -> None:
            print("50 %", end="")
            print(", done", end="", flush=True)
            if fails:
                raise ValueError

        finished(speak)
    assert _said(caplog)[0] == "50 %, done"
    assert not prints.unfinished


def test_of_a_thread_that_is_gone_nothing_is_kept() -> None:
    with printing():
        thread = threading.Thread(target=print, args=("without an end",), kwargs={"end": ""})
        thread.start()
        thread.join()
        assert not prints.unfinished


def test_a_line_may_not_grow_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    with printing():
        for _ in range(3 * prints.LONGEST):
            print(".", end="")
        assert [len(line) for line in _said(caplog)] == [prints.LONGEST + 1] * 2


@pytest.mark.parametrize(("level", "name"), [(logging.INFO, "INFO"), ("info", "INFO"), ("ERROR", "ERROR")])
def test_the_level_is_a_name_or_a_number(caplog: pytest.LogCaptureFixture, level: str | int, name: str) -> None:
    with caplog.at_level(logging.INFO), contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        prints.redirect_stdouts(level)
        print("here")
        print("there", file=sys.stderr)
    assert [(record.name, record.levelname) for record in caplog.records] == [("lavoro.redirected", name)] * 2
    assert _said(caplog) == ["here", "there"]


def test_a_handler_that_fails_says_so_on_the_stream_that_was_there(capfd: pytest.CaptureFixture[str]) -> None:
    """Python tells of it on standard error, which is the log too."""
    handler = logging.StreamHandler(io.StringIO())
    handler.stream.close()
    logger = logging.getLogger("lavoro.redirected")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
            prints.redirect_stdouts("ERROR")
            print("lost", file=sys.stderr)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    assert "I/O operation on closed file" in capfd.readouterr().err
