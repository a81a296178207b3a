"""The import package `celery` of compat: Lavoro's names in Celery's places, and a sentence for each absent one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lavoro.config.absent import ABSENT

REPOSITORY = Path(__file__).parents[2]
ALIAS = REPOSITORY / "compat" / "celery"
MODULES = sorted(
    ".".join(("celery", *file.relative_to(ALIAS).with_suffix("").parts)).removesuffix(".__init__")
    for file in ALIAS.rglob("*.py")
    if file.name not in ("_answer.py", "__main__.py")
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'compat'}:{REPOSITORY}"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


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
    "celery.chain": "lavoro.chain",
    "celery.canvas.Signature": "celery.canvas",
    "celery.beat.Scheduler": "celery.beat",
    "celery.bootsteps.StartStopStep": "celery.bootsteps",
    "celery.events.state.State": "celery.events",
    "celery.app.control.Inspect": "celery.app.control",
    "celery.backends.redis.RedisBackend": "celery.backends",
    "celery.contrib.testing.worker.start_worker": "celery.contrib.testing",
    "celery.utils.functional.noop": "celery.utils",
    "celery.worker.request.Request": "celery.worker",
}


def test_absent_name_raises_its_sentence() -> None:
    code = f"""
answer = {{}}
for path in {list(LATER)!r}:
    module, _, name = path.rpartition(".")
    try:
        exec(f"from {{module}} import {{name}}", {{}})
    except ImportError as error:
        answer[path] = str(error)
"""
    assert ask(code) == {path: f"{path}: {ABSENT[row].sentence}" for path, row in LATER.items()}


def test_name_that_celery_does_not_have_is_an_attribute_error() -> None:
    code = "import celery, celery.states; answer = [hasattr(celery, 'nothing'), hasattr(celery.states, 'nothing')]"
    assert ask(code) == [False, False]


@pytest.mark.parametrize("row", [name for name in ABSENT if name.startswith("celery.")])
def test_each_row_for_a_module_names_one(row: str) -> None:
    assert row in MODULES


def test_python_m_celery_is_the_command() -> None:
    ended = run("-m", "celery", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Run and manage the tasks" in ended.stdout
