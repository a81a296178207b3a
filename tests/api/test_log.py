"""Logging: records know their task, what tasks print becomes lines, loggers of tasks have one parent."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro, get_task_logger, log, signals


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, which gets its handlers and level back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def _logged_by_a_task(text: str) -> str:
    @Lavoro("shop", task_always_eager=True).task(name="speak")
    def speak() -> None:
        get_task_logger("shop.tasks").warning(text)

    return speak.delay().id


def test_formats_of_lines_inside_and_outside_of_tasks(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("info", logfile=str(path), format="out %(message)s", task_format="%(task_name)s[%(task_id)s] %(message)s")
    id = _logged_by_a_task("hello")
    logging.getLogger("shop").warning("bye")
    lines = path.read_text().splitlines()
    assert lines[0] == f"speak[{id}] hello"
    assert lines[1].startswith(f"out Task speak[{id}] succeeded in ")
    assert lines[2] == "out bye"


def test_json_lines(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("WARNING", logfile=str(path), style="json")
    id = _logged_by_a_task("ü")
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("shop").exception("failed")
    told, failed = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (told["message"], told["level"], told["task_id"], told["task_name"]) == ("ü", "WARNING", id, "speak")
    assert "task_id" not in failed
    assert "KeyError: 'k'" in failed["exception"]


def test_task_formatter_for_handlers_of_ones_own() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log.TaskFormatter("%(task_name)s %(task_id)s %(message)s", use_color=False))
    logger = get_task_logger("shop.tasks")
    logger.addHandler(handler)
    try:
        logger.warning("outside")
        id = _logged_by_a_task("inside")
    finally:
        logger.removeHandler(handler)
    assert stream.getvalue().splitlines() == ["??? ??? outside", f"speak {id} inside"]


def test_task_loggers_have_one_parent() -> None:
    assert get_task_logger("some.module").parent is log.TASKS
    assert get_task_logger("some.module") is logging.getLogger("some.module")
    assert get_task_logger(log.TASKS.name).parent is not log.TASKS


def test_receiver_may_take_logging_over(root: logging.Logger) -> None:
    told: list[Any] = []
    before = root.handlers[:]
    signals.setup_logging.connect(lambda **facts: told.append(facts["loglevel"]), weak=False, dispatch_uid="test")
    try:
        log.setup("debug")
    finally:
        signals.setup_logging.disconnect(dispatch_uid="test")
    assert told == ["DEBUG"]
    assert root.handlers == before


def test_prints_become_whole_lines(caplog: pytest.LogCaptureFixture) -> None:
    stream: Any = log.StreamToLog(logging.getLogger("printed"), logging.WARNING, io.StringIO())
    print("a", 1, file=stream)
    print("b", end="", file=stream)
    thread = threading.Thread(target=print, args=("from a thread",), kwargs={"file": stream})
    thread.start()
    thread.join()
    print(" c\n\nd", file=stream)
    assert [record.getMessage() for record in caplog.records] == ["a 1", "from a thread", "b c", "d"]


def test_what_a_handler_prints_is_written_through() -> None:
    original = io.StringIO()
    stream: Any = log.StreamToLog(logging.getLogger("printing"), logging.WARNING, original)

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
