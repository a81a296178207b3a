"""The import package `celery` of compat: Lavoro's names in Celery's places, and a sentence for each absent one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lavoro.config.absent import ABSENT
from tests import copies

REPOSITORY = Path(__file__).parents[2]
ALIAS = REPOSITORY / "compat" / "celery"
MODULES = sorted(
    ".".join(("celery", *file.relative_to(ALIAS).with_suffix("").parts)).removesuffix(".__init__")
    for file in ALIAS.rglob("*.py")
    if not file.name.startswith("_") or file.name == "__init__.py"
)
SURFACE = json.loads((ALIAS / "surface.json").read_text())


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'compat'}:{REPOSITORY}"}
    return copies.run(*arguments, environment=environment, folder=REPOSITORY)


def ask(code: str) -> Any:
    """Run code with the alias in a process of its own, and return what it leaves in `answer`."""
    ended = run("-c", f"{code}\nimport json; print(json.dumps(answer))")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


SAME = {
    "celery.Celery": "lavoro.Lavoro",
    "celery.Task": "lavoro.Task",
    "celery.shared_task": "lavoro.shared_task",
    "celery.current_app": "lavoro.current_app",
    "celery.current_task": "lavoro.current_task",
    "celery.chain": "lavoro.chain",
    "celery.canvas.Signature": "lavoro.canvas.Signature",
    "celery.chord": "lavoro.canvas.chord",
    "celery.canvas.group": "lavoro.group",
    "celery.canvas._chain": "lavoro.canvas.chain.Chain",
    "celery.canvas._chord": "lavoro.chord",
    "celery.xstarmap": "lavoro.canvas.xstarmap",
    "celery.result.GroupResult": "lavoro.result.GroupResult",
    "celery.result.ResultSet": "lavoro.result.ResultSet",
    "celery.canvas.subtask": "lavoro.canvas.signature",
    "celery.uuid": "lavoro.uuid",
    "celery.app.shared_task": "lavoro.shared_task",
    "celery.app.base.Celery": "lavoro.Lavoro",
    "celery.app.base.App": "lavoro.Lavoro",
    "celery.app.task.Task": "lavoro.task.Task",
    "celery.app.task.Context": "lavoro.execution.context.Context",
    "celery.app.log.TaskFormatter": "lavoro.log.TaskFormatter",
    "celery.app.registry.TaskRegistry": "lavoro.definition.registry.TaskRegistry",
    "celery.app.defaults.DEFAULTS": "lavoro.config.defaults.DEFAULTS",
    "celery.result.AsyncResult": "lavoro.AsyncResult",
    "celery.result.EagerResult": "lavoro.EagerResult",
    "celery.result.allow_join_result": "lavoro.allow_join_result",
    "celery.signals.task_prerun": "lavoro.signals.task_prerun",
    "celery.exceptions.Retry": "lavoro.exceptions.Retry",
    "celery.exceptions.SoftTimeLimitExceeded": "lavoro.exceptions.SoftTimeLimitExceeded",
    "celery.states.READY_STATES": "lavoro.states.READY_STATES",
    "celery.local.Proxy": "lavoro.runtime.current_app.Proxy",
    "celery.utils.uuid": "lavoro.uuid",
    "celery.utils.log.get_task_logger": "lavoro.get_task_logger",
}


def test_names_are_lavoros_own() -> None:
    code = f"""
from importlib import import_module

def find(path):
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)

answer = [theirs for theirs, ours in {SAME!r}.items() if find(theirs) is not find(ours)]
"""
    assert ask(code) == []


def test_names_of_errors_that_differ() -> None:
    code = """
from celery.exceptions import CeleryError, CeleryWarning, ImproperlyConfigured
from lavoro.exceptions import LavoroWarning

answer = [issubclass(ImproperlyConfigured, CeleryError), issubclass(LavoroWarning, CeleryWarning)]
"""
    assert ask(code) == [True, True]


def test_version_is_that_of_the_celery_that_lavoro_is_compared_with() -> None:
    code = "import celery; answer = [celery.__version__, celery.VERSION, celery.version_info.major]"
    assert ask(code) == ["5.7.0", [5, 7, 0, "", ""], 5]


def test_each_module_answers_for_all_that_it_lists() -> None:
    code = f"""
from importlib import import_module

answer = []
for name in {MODULES!r}:
    module = import_module(name)
    exec(f"from {{name}} import *", {{}})
    answer += [f"{{name}}.{{each}}" for each in dir(module) if not hasattr(module, each)]
"""
    assert ask(code) == []


def test_star_brings_no_names_of_other_packages() -> None:
    code = """
names = {}
exec("from celery.signals import *", names)
answer = [name in names for name in ("task_prerun", "Signal", "logging", "Any", "weakref", "_key")]
"""
    assert ask(code) == [True, True, False, False, False, False]


def test_submodules_need_no_import_of_their_own() -> None:
    code = "import celery; answer = [celery.signals.__name__, celery.app.task.__name__, celery.utils.log.__name__]"
    assert ask(code) == ["celery.signals", "celery.app.task", "celery.utils.log"]


LATER = {
    "celery.beat.BeatPidbox": "celery.beat.BeatPidbox",
    "celery.bootsteps.StartStopStep": "celery.bootsteps",
    "celery.events.cursesmon.CursesMonitor": "celery.events",
    "celery.backends.redis.RedisBackend": "celery.backends",
    "celery.backends.database.models.Task": "celery.backends",
    "celery.concurrency.prefork.TaskPool": "celery.concurrency",
    "celery.contrib.testing.mocks.TaskMessage": "celery.contrib.testing",
    "celery.utils.functional.noop": "celery.utils",
    "celery.worker.request.Request": "celery.worker",
}


def test_absent_name_raises_its_sentence_when_it_is_used() -> None:
    code = f"""
answer = {{}}
for path in {list(LATER)!r}:
    module, _, name = path.rpartition(".")
    names = {{}}
    exec(f"from {{module}} import {{name}}", names)
    try:
        names[name]("any", some="thing")
    except NotImplementedError as error:
        answer[path] = str(error)
"""
    assert ask(code) == {path: f"{path}: {ABSENT[row].sentence}" for path, row in LATER.items()}


def test_modules_can_be_written_with_absent_names() -> None:
    """Only the use of them raises: a subclass, an annotation and a check of types are none."""
    code = """
from celery.bootsteps import Step
from celery.utils.functional import LRUCache

class Own(Step):
    interval = 5

    def __init__(self, app: Step | None, cache: LRUCache[str]) -> None: ...

answer = {"interval": Own.interval, "instance": isinstance(Own, Step), "has create": hasattr(Step, "create")}
for use in (Own, lambda: Step.create, lambda: list(Step)):
    try:
        use()
    except NotImplementedError as error:
        answer[str(error).partition(":")[0]] = True
"""
    assert ask(code) == {
        "interval": 5, "instance": False, "has create": False, "celery.bootsteps.Step": True,
        "celery.bootsteps.Step.create": True,
    }  # fmt: skip


def test_name_that_others_replace_is_refused_at_import() -> None:
    """Sentry puts a function of its own in the place of this one, and would report nothing."""
    code = """
answer = []
try:
    from celery.app.trace import build_tracer
except ImportError as error:
    answer.append(str(error))
"""
    assert ask(code) == [f"celery.app.trace.build_tracer: {ABSENT['celery.app.trace'].sentence}"]


IMPORTED = {
    "celery-once": "celery.Task, celery.states, celery.result.EagerResult, celery.exceptions.CeleryError",
    "celery-singleton": "celery.Task, celery.exceptions.CeleryError, celery.result.AsyncResult",
    "celery-batches": "celery.app.Celery, celery.app.task.Task, celery.concurrency.base.BasePool,"
    " celery.utils.imports.symbol_by_name, celery.utils.log.get_logger, celery.worker.consumer.Consumer,"
    " celery.worker.request.Request, celery.utils.nodenames.gethostname, celery.signals.task_postrun,"
    " celery.exceptions.ImproperlyConfigured",
    "celery-redbeat": "celery.beat.Scheduler, celery.beat.ScheduleEntry, celery.schedules.crontab,"
    " celery.schedules.schedule, celery.signals.beat_init, celery.utils.log.get_logger,"
    " celery.utils.time.humanize_seconds, celery.utils.time.timezone,"
    " celery.app.app_or_default",
    "django-celery-beat": "celery.current_app, celery.schedules, celery.beat.Scheduler, celery.beat.ScheduleEntry,"
    " celery.utils.log.get_logger, celery.utils.time.maybe_make_aware, celery.utils.imports.qualname,"
    " celery.schedules.crontab_parser, celery.schedules.solar, celery.signals.beat_init,"
    " celery.utils.nodenames.nodename",
    "django-celery-results": "celery.states, celery.result.AsyncResult, celery.result.GroupResult,"
    " celery.result.allow_join_result, celery.result.result_from_tuple, celery.backends.base.BaseDictBackend,"
    " celery.exceptions.ChordError, celery.utils.serialization.b64encode, celery.utils.serialization.b64decode,"
    " celery.utils.log.get_logger, celery.canvas.maybe_signature, celery.five",
    "django-structlog": "celery.bootsteps.Step, celery.current_app, celery.signals.after_task_publish,"
    " celery.signals.before_task_publish, celery.signals.task_failure, celery.signals.task_prerun,"
    " celery.signals.task_rejected, celery.signals.task_retry, celery.signals.task_revoked,"
    " celery.signals.task_success, celery.signals.task_unknown",
    "elastic-apm": "celery.signals, celery.states, celery.exceptions.Ignore",
    "flask-celery-helper": "celery.Celery, celery.Task, celery._state.connect_on_app_finalize",
    "flask-celeryext": "celery.Celery, celery.Task, celery.current_app",
    "flower": "celery.VERSION, celery.current_app, celery.Celery, celery.bin.base.CeleryCommand,"
    " celery.bin.base.LOG_LEVEL, celery.bin.celery.celery, celery.events.EventReceiver, celery.events.state.State,"
    " celery.backends.base.DisabledBackend, celery.contrib.abortable.AbortableAsyncResult,"
    " celery.result.AsyncResult, celery.states, celery.utils.time.humanize_seconds, celery.platforms.DaemonContext",
    "opentelemetry": "celery.signals, celery.registry.tasks, celery.app.task.Task, celery.worker.request.Request",
    "pytest-celery": "celery.Celery, celery.canvas.group, celery.app.base.Celery",
    "sentry-sdk": "celery.VERSION, celery.app.task.Task, celery.beat.Scheduler, celery.schedules.crontab,"
    " celery.schedules.schedule, celery.exceptions.Ignore, celery.exceptions.Reject, celery.exceptions.Retry,"
    " celery.exceptions.SoftTimeLimitExceeded, celery.signals.task_failure, celery.signals.task_success",
    "tests of applications": "celery.contrib.testing.app.TestApp, celery.contrib.testing.worker.start_worker,"
    " celery.app.control.Control, celery.app.control.Inspect, celery.app.defaults.DEFAULTS,"
    " celery.app.log.TaskFormatter, celery.app.log.Logging, celery.apps.worker.Worker,"
    " celery.loaders.base.BaseLoader, celery.local.Proxy, celery.local.PromiseProxy, celery.platforms.pyimplementation,"
    " celery.worker.control.control_command, celery.worker.state.revoked, celery.utils.saferepr.saferepr",
}
"""What libraries for Celery import of it."""
OLDER = {"celery.five", "celery._state.connect_on_app_finalize"}
"""Names that libraries import only for another version of Celery, or that are private."""


def test_what_libraries_import_can_be_imported() -> None:
    wanted = {
        library: [name for name in map(str.strip, names.split(",")) if name not in OLDER]
        for library, names in IMPORTED.items()
    }
    code = f"""
from importlib import import_module

answer = {{}}
for library, names in {wanted!r}.items():
    for path in names:
        module, _, name = path.rpartition(".")
        try:
            exec(f"from {{module}} import {{name}}", {{}})
        except ImportError as error:
            answer.setdefault(library, []).append(str(error))
"""
    assert ask(code) == {}


def test_name_that_celery_does_not_have_is_an_attribute_error() -> None:
    code = "import celery, celery.states; answer = [hasattr(celery, 'nothing'), hasattr(celery.states, 'nothing')]"
    assert ask(code) == [False, False]


@pytest.mark.parametrize("row", [name for name in ABSENT if name.startswith("celery.")])
def test_each_row_names_a_module_or_a_name_of_celery(row: str) -> None:
    module, _, name = row.rpartition(".")
    assert row in SURFACE or name in SURFACE[module]


def test_python_m_celery_is_the_command() -> None:
    ended = run("celery", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Run and manage the tasks" in ended.stdout
