"""What code written for Celery asks an application for: connection, backend, loader, log, and names of all kinds."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import lavoro
from lavoro import AsyncResult, Lavoro, get_task_logger, signals
from lavoro.exceptions import ImproperlyConfigured, IncompleteStream, LavoroWarning, NotSupported, OperationalError
from lavoro.log import TASKS
from lavoro.surface.application import Surface
from lavoro.surface.loader import Loader

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/none"


# The connection


def test_a_health_check_asks_the_database(app: Lavoro) -> None:
    with app.connection() as connection:
        assert not connection.connected
        assert connection.ensure_connection(max_retries=1) is connection
        assert connection.connected
        assert "postgresql://" in connection.as_uri()
    assert not connection.connected
    assert app.connection_for_read().connect().connected
    assert app.connection_for_write().connect().connected
    given = app.connection()
    assert app.connection_or_acquire(given) is given


def test_a_health_check_of_a_database_that_is_gone() -> None:
    with Lavoro("gone", broker=UNREACHABLE, set_as_current=False) as app:
        connection, told = app.connection(), []
        with pytest.raises(connection.recoverable_connection_errors):
            connection.ensure_connection(
                errback=lambda error, pause: told.append((type(error), pause)), max_retries=2, interval_start=0.01,
                interval_step=0.01,
            )  # fmt: skip
        assert told == [(OperationalError, 0.01), (OperationalError, 0.02)]
        assert not connection.connected
        with pytest.raises(OperationalError):
            connection.connect()


def test_the_length_of_a_queue(app: Lavoro) -> None:
    for _ in range(3):
        app.send_task("far", queue="letters")
    channel = app.connection().default_channel
    declared = channel.queue_declare(queue="letters", passive=True)
    assert (declared.queue, declared.message_count, declared.consumer_count) == ("letters", 3, 0)
    assert channel.queue_purge("letters") == 3
    assert channel.queue_declare("letters").message_count == 0


def test_what_a_connection_does_not_have_says_so(app: Lavoro) -> None:
    with pytest.raises(NotSupported, match=r"^connection.SimpleQueue: there is no message broker"):
        app.connection().SimpleQueue("q")  # type: ignore[attr-defined]


# The backend


def test_the_backend_answers_by_ids(app: Lavoro) -> None:
    backend = app.backend
    assert app.backend is backend
    backend.ensure_chords_allowed()  # never raises
    result = app.AsyncResult("1")
    assert result.backend is backend
    assert (backend.get_state("1"), backend.get_result("1"), backend.get_traceback("1")) == ("PENDING", None, None)
    assert backend.store_result("1", {"n": [1, None]}, "SUCCESS") == {"n": [1, None]}
    assert (result.state, result.get(timeout=5), backend.get_status("1")) == ("SUCCESS", {"n": [1, None]}, "SUCCESS")
    backend.mark_as_failure("1", ValueError("late"))
    assert backend.get_state("1") == "SUCCESS"  # a success stays
    meta = backend.get_task_meta("1")
    assert (meta["status"], meta["result"], meta["children"], meta["task_id"]) == ("SUCCESS", {"n": [1, None]}, [], "1")
    assert meta["date_done"] is not None
    assert "worker" not in meta
    app.conf.result_extended = True
    assert backend.wait_for("1", timeout=5)["retries"] == 0
    backend.forget("1")
    assert backend.get_state("1") == "PENDING"


def test_the_backend_stores_failures(app: Lavoro) -> None:
    app.backend.mark_as_failure("2", KeyError("name"), traceback="Traceback: ...")
    with pytest.raises(KeyError, match="name"):
        AsyncResult("2", app=app).get(timeout=5)
    assert app.backend.get_traceback("2") == "Traceback: ..."
    app.backend.mark_as_revoked("2", "not needed")
    assert (app.backend.get_state("2"), str(app.backend.get_result("2"))) == ("REVOKED", "not needed")
    with pytest.raises(ValueError, match="the result of state FAILURE must be an exception, not 5"):
        app.backend.store_result("2", 5, "FAILURE")
    stored = app.backend.prepare_exception(ValueError("a", 1))
    assert stored == {"exc_type": "ValueError", "exc_message": ["a", 1], "exc_module": "builtins"}
    assert repr(app.backend.exception_to_python(stored)) == "ValueError('a', 1)"


def test_a_state_of_a_task_that_does_not_run_here_is_dropped_with_a_warning(
    app: Lavoro, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lavoro.task"):
        app.backend.store_result("3", {"done": 1}, "PROGRESS")
    assert "state PROGRESS of 3 is dropped: no task of this id runs" in caplog.text
    assert app.backend.get_state("3") == "PENDING"


def test_other_serializers_are_kept(app: Lavoro) -> None:
    app.conf.update(result_serializer="pickle", accept_content=["json", "pickle"])
    app.backend.mark_as_done("4", {1, 2})
    assert app.backend.get_result("4") == {1, 2}


def test_a_task_and_a_result_lead_to_the_backend(app: Lavoro) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    assert add.backend is app.backend
    parent = app.AsyncResult("p")
    assert app.AsyncResult("c", parent=parent).as_list() == ["c", "p"]


# Loader and log


def test_the_loader_imports_modules(app: Lavoro, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("loaded_first", "loaded_second"):
        (tmp_path / f"{name}.py").write_text("")
    app.conf.imports = ["loaded_first"]
    app.loader.import_default_modules()
    assert "loaded_first" in sys.modules
    assert app.loader.import_task_module("loaded_second") is sys.modules["loaded_second"]
    assert app.loader.task_modules == {"loaded_second"}
    assert app.loader.conf is app.conf


class OwnLoader(Loader):
    """One that an application names."""


def test_an_application_may_name_its_loader_and_log() -> None:
    class OwnLog:
        def __init__(self, app: Lavoro) -> None:
            self.app = app

    app = Lavoro(
        "own", loader=f"{__name__}:OwnLoader" if "." in __name__ else OwnLoader, log=OwnLog, set_as_current=False
    )
    assert type(app.loader).__name__ == "OwnLoader"
    assert app.log.app is app


def test_the_log_is_set_up_once(app: Lavoro, root: logging.Logger, tmp_path: Path) -> None:
    assert app.log.setup("INFO", logfile=str(tmp_path / "log"))
    assert not app.log.setup("INFO")
    logging.getLogger("mine").info("hello")
    assert "INFO/MainProcess] hello" in (tmp_path / "log").read_text()


def test_a_program_that_is_no_worker_writes_what_tasks_log(app: Lavoro, tmp_path: Path) -> None:
    told: list[Any] = []

    def receiver(logger: logging.Logger, **facts: Any) -> None:
        told.append((logger, facts["loglevel"]))

    signals.after_setup_task_logger.connect(receiver)
    level, propagate = TASKS.level, TASKS.propagate
    try:
        assert app.log.setup_task_loggers("INFO", logfile=str(tmp_path / "log"), format="%(message)s") is TASKS
        app.log.setup_task_loggers("INFO", logfile=str(tmp_path / "second"))  # there is a handler already
        get_task_logger("mine").info("hello")
        assert (tmp_path / "log").read_text() == "hello\n"
        assert not TASKS.propagate
        assert app.log.setup_task_loggers(propagate=True).propagate
        assert told == [(TASKS, 20), (TASKS, 20), (TASKS, 30)]
    finally:
        signals.after_setup_task_logger.disconnect(receiver)
        for handler in TASKS.handlers:
            handler.close()
        TASKS.handlers[:], TASKS.propagate = [], propagate
        TASKS.setLevel(level)


# Configuration


def test_on_configure_is_sent_before_the_configuration_is_read() -> None:
    seen: list[str] = []
    app = Lavoro("configured", set_as_current=False)
    app.config_from_object(type("Config", (), {"task_default_queue": "late"}))
    app.on_configure.connect(lambda **_: seen.append("configure"), weak=False)
    app.on_after_configure.connect(lambda source, **_: seen.append(source.task_default_queue), weak=False)
    assert not app.configured
    assert not seen
    app.finalize()
    assert (seen, app.configured, app.finalized) == (["configure", "late"], True, True)


def test_on_configure_may_be_a_method() -> None:
    class Own(Lavoro):
        def on_configure(self) -> None:
            self.conf.task_default_queue = "own"

    assert Own("own", set_as_current=False).conf.task_default_queue == "own"


def test_settings_that_the_command_line_says() -> None:
    app = Lavoro("said", set_as_current=False)
    app.config_from_cmdline(["worker.concurrency=4", ".prefetch_multiplier=1", 'imports=(tuple)["a"]'], "worker")
    assert (app.conf.worker_concurrency, app.conf.worker_prefetch_multiplier, app.conf.imports) == (4, 1, ("a",))
    for wrong, words in (("worker.concurrency", "is no setting"), ("worker.x=1", "there is no setting 'worker_x'"),
                         ("worker.concurrency=many", "worker_concurrency must be a whole number")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            app.config_from_cmdline([wrong])


def test_either_and_others(app: Lavoro) -> None:
    app.conf.worker_concurrency = 3
    assert (app.either("worker_concurrency", None, 5), app.either("worker_concurrency", None)) == (5, 3)
    assert app.uses_utc_timezone()
    assert app.timezone == app.now().tzinfo == ZoneInfo("UTC")
    app.conf.update(enable_utc=False, timezone="UTC")
    assert app.uses_utc_timezone()
    assert str(app.timezone) == "UTC"
    assert app.now().tzinfo is not None
    assert app.annotations == ()
    assert app.create_task_cls() is app.Task
    assert app.current_worker_task is None
    bound = app.subclass_with_self(AsyncResult, name="Bound")
    assert (bound.__name__, bound.app) == ("Bound", app)
    with pytest.raises(TypeError, match="missing"):
        app.type_checker(lambda x, y: None)(1)
    assert app.bugreport() == lavoro.bugreport(app)
    assert f"software -> lavoro:{lavoro.__version__} py:" in app.bugreport()


def test_what_has_no_effect_says_so() -> None:
    app = Lavoro("parts", set_as_current=False)
    with pytest.warns(LavoroWarning, match="'Probe' has no effect: the parts .* of a worker are fixed"):
        app.steps["worker"].add("Probe")
    with pytest.warns(LavoroWarning, match="has no effect"):
        app.user_options["preload"].add("option")
    assert app.steps["consumer"] == set()


# Running the command line


def test_worker_main_asks_for_the_verb() -> None:
    with pytest.raises(ValueError, match="The worker sub-command must be specified in argv"):
        Lavoro("main", set_as_current=False).worker_main(["-l", "info"])


def test_start_runs_a_command(app: Lavoro, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.start(["purge", "-f"]) == 0
    assert "deleted" in capsys.readouterr().out
    assert app.start(["no_such_verb"]) == 2


def test_an_application_is_named_by_the_module_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Lavoro("named", set_as_current=False)
    with pytest.raises(ImproperlyConfigured, match="no module has <Lavoro named> in a variable"):
        app.find_name()
    module = ModuleType("shop_of_a_test")
    module.celery_app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop_of_a_test", module)
    assert app.find_name() == "shop_of_a_test:celery_app"


# Every name


APPLICATION = """
    AsyncResult Beat GroupResult ResultSet Task WorkController Worker add_defaults add_periodic_task amqp
    annotations autodiscover_tasks autofinalize backend bugreport clock close conf config_from_cmdline
    config_from_envvar config_from_object configured connection connection_for_read connection_for_write
    connection_or_acquire control create_task_cls current_task current_worker_task either events finalize
    finalized fixups gen_task_name loader log main now oid on_after_configure on_after_finalize on_after_fork
    on_configure on_init pool prepare_config producer_or_acquire producer_pool register_task select_queues
    send_task set_current set_default setup_security signature start steps strict_typing subclass_with_self task
    task_cls tasks thread_oid timezone type_checker user_options uses_utc_timezone worker_main
"""
TASK = """
    AsyncResult MaxRetriesExceededError OperationalError Request Strategy abstract acks_late
    acks_on_failure_or_timeout add_around add_to_chord after_return app apply apply_async autoretry_for backend
    before_start bind chunks default_retry_delay delay dont_autoretry_for expires ignore_result map max_retries
    name on_bound on_failure on_replace on_retry on_success pop_request priority push_request queue rate_limit
    reject_on_worker_lost replace request request_stack retry retry_backoff retry_backoff_max retry_jitter
    retry_kwargs routing_key run s send_event send_events serializer shadow_name si signature
    signature_from_request soft_time_limit starmap start_strategy store_errors_even_if_ignored subtask throws
    time_limit track_started trail typing update_state
"""
RESULT = """
    args as_list as_tuple backend build_graph children collect date_done exists failed forget get get_leaf graph
    id ignored info iterdeps kwargs maybe_reraise maybe_throw name parent queue ready result retries revoke state
    status successful task_id then throw traceback wait worker
"""
PACKAGE = """
    Celery Signature Task bugreport chain chord chunks current_app current_task group maybe_signature shared_task
    signature subtask uuid xmap xstarmap
"""
SIGNALS = """
    after_setup_logger after_setup_task_logger after_task_publish beat_embedded_init beat_init before_task_publish
    celeryd_after_setup celeryd_init eventlet_pool_apply eventlet_pool_postshutdown eventlet_pool_preshutdown
    eventlet_pool_started heartbeat_sent import_modules setup_logging task_failure task_internal_error
    task_postrun task_prerun task_received task_rejected task_retry task_revoked task_sent task_success
    task_unknown user_preload_options worker_before_create_process worker_init worker_process_init
    worker_process_shutdown worker_ready worker_shutdown worker_shutting_down
"""


def _holders(app: Lavoro) -> dict[str, tuple[Any, str]]:
    @app.task(name="walk.add")
    def add(x: int, y: int) -> int:
        return x + y

    return {
        "application": (app, APPLICATION), "task": (add, TASK), "result": (app.AsyncResult("1"), RESULT),
        "package": (lavoro, PACKAGE), "signals": (signals, SIGNALS),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["application", "task", "result", "package", "signals"])
def test_every_name_exists_or_says_why_not(app: Lavoro, kind: str) -> None:
    holder, names = _holders(app)[kind]
    silent = []
    for name in names.split():
        try:
            getattr(holder, name)
        except (NotSupported, IncompleteStream):
            continue  # which brings its sentence; a graph is there once the task is over
        except AttributeError:
            silent.append(name)
    assert silent == []


def test_the_face_is_a_base_of_every_application() -> None:
    assert issubclass(Lavoro, Surface)
