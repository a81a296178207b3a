"""Logging: records know their task, what tasks print becomes lines, loggers of tasks have one parent."""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import logging.config
import os
import pty
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro, get_task_logger, log, signals
from tests.executor.run import finished

ROOT = Path(__file__).parents[2]


def _logged_by_a_task(text: str) -> str:
    @Lavoro("shop", task_always_eager=True).task(name="speak")
    def speak() -> None:
        get_task_logger("shop.tasks").warning(text)

    return speak.delay().id


def _failed(error: BaseException) -> str:
    @Lavoro("shop", task_always_eager=True).task(name="fail")
    def fail() -> None:
        raise error

    return fail.delay().id


def test_formats_of_lines_inside_and_outside_of_tasks(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("info", logfile=str(path), format="out %(message)s", task_format="%(task_name)s[%(task_id)s] %(message)s")
    id = _logged_by_a_task("hello")
    logging.getLogger("shop").warning("bye")
    lines = path.read_text().splitlines()
    assert lines[0] == f"speak[{id}] hello"
    assert lines[1].startswith(f"out Task speak[{id}] succeeded in ")
    assert lines[2] == "out bye"


def test_a_handler_that_is_given_to_both_loggers_writes_once(root: logging.Logger, tmp_path: Path) -> None:
    path, stream = tmp_path / "log", io.StringIO()
    handler = logging.StreamHandler(stream)
    both = (signals.after_setup_logger, signals.after_setup_task_logger)

    def add(logger: logging.Logger, **_: Any) -> None:
        logger.addHandler(handler)

    for signal in both:
        signal.connect(add, dispatch_uid="test")
    try:
        log.setup("ERROR", logfile=str(path), format="%(message)s")
    finally:
        for signal in both:
            signal.disconnect(dispatch_uid="test")
    assert log.TASKS.level == logging.ERROR
    get_task_logger("shop.tasks").error("hello")
    logging.getLogger("shop").error("bye")
    assert path.read_text() == stream.getvalue() == "hello\nbye\n"


def test_the_logger_of_tasks_may_be_set_up_by_hand(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    app = Lavoro("shop")
    app.conf.worker_task_log_format = "%(task_name)s %(message)s"
    logger = app.log.setup_task_loggers("INFO", str(path))
    assert (logger, logger.level, logger.propagate) == (log.TASKS, logging.INFO, False)
    get_task_logger("shop.tasks").info("hello")
    assert path.read_text() == "??? hello\n"
    assert app.log.setup_task_loggers("INFO", propagate=True).propagate
    assert len(logger.handlers) == 1


def test_json_lines(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("WARNING", logfile=str(path), style="json")
    id = _logged_by_a_task("ü")
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("shop").exception("failed")
    told, failed = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    written = dt.datetime.fromisoformat(told["time"])
    assert written.utcoffset() is not None
    assert abs((dt.datetime.now(dt.timezone.utc) - written).total_seconds()) < 60
    assert (told["message"], told["level"], told["task_id"], told["task_name"]) == ("ü", "WARNING", id, "speak")
    assert "task_id" not in failed
    assert failed["message"] == "failed"
    assert failed["exc_info"].startswith("Traceback (most recent call last):")
    assert failed["exc_info"].endswith("KeyError: 'k'")


def test_the_traceback_of_a_task_is_a_field_of_its_own(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("WARNING", logfile=str(path), style="json")
    _failed(ValueError("bad\x1b[2J"))
    [line] = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert line["message"] == f"Task fail[{line['task_id']}] raised unexpected: ValueError('bad\\x1b[2J')"
    assert line["exc_info"].startswith("Traceback (most recent call last):")
    assert line["exc_info"].endswith("ValueError: bad\\x1b[2J")


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
    with pytest.raises(RuntimeError, match="Logger name 'lavoro.user' is reserved!"):
        get_task_logger(log.TASKS.name)


def test_what_becomes_of_tasks_can_be_silenced_alone(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("INFO", logfile=str(path), format="%(message)s")
    ours = logging.getLogger("lavoro.task")
    ours.setLevel("CRITICAL")
    try:
        _logged_by_a_task("hello")
    finally:
        ours.setLevel("NOTSET")
    assert path.read_text() == "hello\n"


def test_a_configuration_that_names_others_silences_none_of_ours(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    loggers = [logger for logger in logging.root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    before = [logger.disabled for logger in loggers]
    logging.config.dictConfig({"version": 1})
    disabled = [logger.disabled for logger in loggers]
    for logger, was_disabled in zip(loggers, before, strict=True):
        logger.disabled = was_disabled
    log.setup("INFO", logfile=str(path), format="%(name)s")
    assert any(disabled)
    for name in log.OURS:
        logging.getLogger(name).info("here")
    assert path.read_text().splitlines() == list(log.OURS)


def test_every_logger_of_ours_is_known() -> None:
    source = "\n".join(file.read_text() for file in (ROOT / "lavoro").rglob("*.py"))
    named = set(re.findall(r'getLogger\("(lavoro[^"]*)"\)', source))
    assert named >= {"lavoro.task", "lavoro.worker"}
    assert named <= set(log.OURS)


# What a line can do


EVIL = "a\n[2026-01-01] ERROR: forged\x1b[2J\u202e\x9b2J\ud800"


class Evil:
    def __repr__(self) -> str:
        return EVIL


@pytest.mark.parametrize("value", [EVIL, Evil(), ValueError(EVIL), Path(EVIL.replace("\ud800", "")), {EVIL: 1}])
@pytest.mark.parametrize("words", ["about %s", "about %r"])
def test_what_a_line_is_about_makes_no_other_line(
    root: logging.Logger, tmp_path: Path, value: object, words: str
) -> None:
    """Neither in the worker's own log nor in that of a handler that knows nothing of Lavoro."""
    path, stream = tmp_path / "log", io.StringIO()
    log.setup("INFO", logfile=str(path))
    plain = logging.StreamHandler(stream)
    root.addHandler(plain)
    logging.getLogger("lavoro.worker").warning(words, value)
    for text in (path.read_text(encoding="utf-8"), stream.getvalue()):
        assert len(text.splitlines()) == 1
        assert "forged" in text
        assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text) is None


@pytest.mark.parametrize("id", [EVIL, 5, None, ["x"]])
def test_an_id_of_a_task_makes_no_line(root: logging.Logger, tmp_path: Path, id: object) -> None:
    path = tmp_path / "log"
    log.setup("INFO", logfile=str(path), format="%(task_id)s %(message)s", task_format="%(task_id)s in %(message)s")

    @Lavoro("shop", task_always_eager=True).task(name="speak", bind=True)
    def speak(self: Any) -> None:
        get_task_logger("shop.tasks").warning("hello")

    options = json.dumps({"task_id": id})
    assert finished(speak, options=options).state == "SUCCESS"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert lines[0].endswith(" in hello")
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", "".join(lines)) is None


def test_what_others_log_may_have_lines_and_nothing_else(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("INFO", logfile=str(path), format="%(message)s")
    try:
        raise ValueError(EVIL)
    except ValueError:
        logging.getLogger("shop").exception("one\ntwo\x1b[2J")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("one\ntwo\\x1b[2J\nTraceback")
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text) is None


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_long_message_is_cut(root: logging.Logger, tmp_path: Path, style: str) -> None:
    path = tmp_path / "log"
    log.setup("INFO", logfile=str(path), style=style, format="%(message)s", longest=100)
    logging.getLogger("shop").warning("x" * 1000)
    try:
        raise ValueError("y" * 1000)
    except ValueError:
        logging.getLogger("shop").exception("z")
    text = path.read_text()
    assert "x" * 100 + "... (cut: 900 more characters)" in text
    assert 5 < text.count("y") < 100


def test_an_exception_of_several_lines_is_told_in_one(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("lavoro.worker").warning("it failed: %s", OSError("no connection\n\tIs the server running?\n"))
    assert caplog.messages == ["it failed: no connection; Is the server running?"]


def test_lines_that_end_with_stacks_say_so() -> None:
    """Else they would be one line."""
    files = [file.read_text() for file in (ROOT / "lavoro").rglob("*.py") if file.name != "log.py"]
    told = [(text.count('\\n%s"'), text.count(" Lines(") - text.count("class Lines(")) for text in files]
    assert sum(several for several, _ in told) == 3
    assert all(several == marked for several, marked in told)


@pytest.mark.parametrize(("asked", "level"), [("INFO", logging.INFO), (None, logging.WARNING), (0, logging.WARNING)])
def test_a_root_logger_with_handlers_of_its_own_gets_the_level(
    root: logging.Logger, asked: str | int | None, level: int
) -> None:
    handler = logging.StreamHandler(stream := io.StringIO())
    root.handlers[:] = [handler]
    root.setLevel(logging.ERROR)
    app = Lavoro("shop", worker_hijack_root_logger=False)
    assert app.log.setup_logging_subsystem(asked)
    assert (root.level, root.handlers) == (level, [handler])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert "UserWarning: old" in stream.getvalue()


# Where it goes


def test_warnings_are_lines_of_the_log(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log.setup("WARNING", logfile=str(path), style="json")
        warnings.warn("old", stacklevel=1)
    told = json.loads(path.read_text())
    assert (told["logger"], told["level"]) == ("py.warnings", "WARNING")
    assert f"{__file__}:" in told["message"]
    assert "UserWarning: old" in told["message"]


def test_a_file_that_was_moved_away_is_made_anew(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("INFO", logfile=str(path), format="%(message)s")
    logging.getLogger("shop").warning("before")
    path.rename(tmp_path / "log.1")
    logging.getLogger("shop").warning("after")
    assert ((tmp_path / "log.1").read_text(), path.read_text()) == ("before\n", "after\n")


_AT_A_TERMINAL = """
import logging
from lavoro import log
log.setup("INFO")
for number in range(3):
    logging.getLogger("shop").warning("several words in a line that is longer than the terminal is wide: %d", number)
try:
    raise ValueError("several words that must not be torn, in a terminal that is less wide than this")
except ValueError:
    logging.getLogger("shop").exception("it failed")
"""


def test_lines_at_a_terminal(tmp_path: Path) -> None:
    """Each has its time and its process, none is torn."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"COLUMNS": "40"}
    process = subprocess.Popen([sys.executable, "-c", _AT_A_TERMINAL], stderr=theirs, env=environment, cwd=ROOT)
    os.close(theirs)
    said = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while data := _read(terminal):
            said += data
    assert process.wait(60) == 0
    lines = re.sub("\x1b\\[[0-9;]*m", "", said.decode()).splitlines()
    assert "\x1b[1;33m" in said.decode()
    for number in range(3):
        words = f"WARNING/MainProcess] several words in a line that is longer than the terminal is wide: {number}"
        assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: " + re.escape(words), lines[number])
    assert lines[-1] == "ValueError: several words that must not be torn, in a terminal that is less wide than this"


def _read(terminal: Any) -> bytes:
    try:
        return terminal.read(65_536)  # type: ignore[no-any-return]
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_receiver_may_take_logging_over(root: logging.Logger) -> None:
    told: list[Any] = []
    before = root.handlers[:]
    signals.setup_logging.connect(lambda **facts: told.append(facts["loglevel"]), weak=False, dispatch_uid="test")
    try:
        log.setup("debug")
    finally:
        signals.setup_logging.disconnect(dispatch_uid="test")
    assert told == [logging.DEBUG]
    assert root.handlers == before


def test_what_a_receiver_of_setup_logging_raises_comes_through(root: logging.Logger) -> None:
    def receive(**_: Any) -> None:
        raise ValueError("no handlers")

    signals.setup_logging.connect(receive, dispatch_uid="test")
    try:
        with pytest.raises(ValueError, match="no handlers"):
            log.setup("debug")
    finally:
        signals.setup_logging.disconnect(dispatch_uid="test")


def test_a_log_that_a_receiver_has_not_set_up_is_set_up_when_asked_again(root: logging.Logger) -> None:
    def receive(**_: Any) -> None:
        raise ValueError("no handlers")

    app = Lavoro("shop")
    signals.setup_logging.connect(receive)
    with pytest.raises(ValueError, match="no handlers"):
        app.log.setup_logging_subsystem()
    signals.setup_logging.disconnect(receive)
    assert app.log.setup_logging_subsystem()


def test_formats_of_times(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup(
        20, logfile=str(path), format="%(asctime)s %(message)s", datefmt="out %Y",
        task_format="%(asctime)s %(message)s", task_datefmt="in %Y",
    )  # fmt: skip
    _logged_by_a_task("hello")
    logging.getLogger("shop").warning("bye")
    year = dt.datetime.now().year
    lines = path.read_text().splitlines()
    assert [lines[0], lines[1][:19], lines[2]] == [f"in {year} hello", f"out {year} Task speak", f"out {year} bye"][:3]


def test_a_filter_on_lines_about_tasks_leaves_those_of_tasks(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("INFO", logfile=str(path), format="%(message)s")
    names = ("lavoro.task", "lavoro.worker.received")
    for name in names:
        logging.getLogger(name).addFilter(_drop)
    try:
        _logged_by_a_task("hello")
    finally:
        for name in names:
            logging.getLogger(name).removeFilter(_drop)
    assert path.read_text() == "hello\n"


def _drop(record: logging.LogRecord) -> bool:
    return False


def test_named_arguments_of_our_lines_make_no_other_line(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup("INFO", logfile=str(path))
    logging.getLogger("lavoro.task").warning("about %(name)s", {"name": EVIL})
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) == 1
    assert re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text) is None


def test_no_line_about_a_task_is_made_up_that_nobody_reads(
    root: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    log.setup("ERROR", logfile=str(tmp_path / "log"))
    monkeypatch.setattr("lavoro.task_log._name_and_id", asked.append)
    _logged_by_a_task("hello")
    assert asked == []


def test_loggers_of_extensions_are_below_ours() -> None:
    logger = log.get_logger("extension")
    assert logger.parent is log.base_logger
    assert log.get_logger("lavoro.worker") is log.worker_logger
    assert log.get_logger("lavoro") is log.base_logger


def test_colours_are_decided_before_a_receiver_is_told(root: logging.Logger) -> None:
    told: list[Any] = []
    signals.setup_logging.connect(lambda **facts: told.append(facts["colorize"]), weak=False, dispatch_uid="test")
    try:
        for colorize, logfile in ((True, None), (False, None), (True, "file"), (None, "file")):
            log.setup("info", colorize=colorize, logfile=logfile)
    finally:
        signals.setup_logging.disconnect(dispatch_uid="test")
    assert told == [True, False, False, False]


def test_a_line_may_have_the_traceback(root: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    log.setup("ERROR", logfile=str(path), format="%(message)s")
    monkeypatch.setattr("lavoro.task_log.LOG_FAILURE", "%(name)s: %(traceback)s")
    _failed(ValueError("bad\x1b[2J"))
    assert path.read_text().startswith("fail: Traceback (most recent call last):\n")
    assert "\x1b" not in path.read_text()
