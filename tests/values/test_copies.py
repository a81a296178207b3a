"""A copy of a process that has imported the libraries is to a program what a new interpreter is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import copies, origin
from tests.copies import Copy
from tests.origin import ROOT

TELLING = """
import atexit, json, os, sys, threading
atexit.register(print, "ended", flush=True)
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread", flush=True))).start()
print(json.dumps({
    "arguments": sys.argv, "path": sys.path[:2], "folder": os.getcwd(), "told": os.environ.get("TOLD"),
    "name": __name__, "imported": "lavoro.app" in sys.modules, "tests": "tests" in sys.modules, "files": os.listdir("/proc/self/fd")[3:-1],
    "stdin": sys.stdin.read(), "signal": str(__import__("signal").getsignal(17)),
}), flush=True)
print("error", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "telling.py").write_text(TELLING)
    (tmp_path / "failing.py").write_text("raise ValueError('on purpose')\n")
    (tmp_path / "waiting.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(600)\n")
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="other systems get a new interpreter")
@pytest.mark.parametrize("module", ["telling", "failing"])
def test_a_copy_is_as_a_new_interpreter(folder: Path, module: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "TOLD": "yes"}
    copied = copies.run(module, "3", environment=environment, folder=folder)
    new = subprocess.run(
        [sys.executable, "-m", module, "3"], cwd=folder, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert copied.returncode == new.returncode != 0
    assert copied.stdout == new.stdout.replace('"imported": false', '"imported": true')
    assert copied.stderr.splitlines()[-1:] == new.stderr.splitlines()[-1:] != []


def test_a_variable_that_only_a_new_interpreter_reads_starts_one(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "ignore"}
    with (folder / "output").open("wb") as output:
        assert not isinstance(
            process := copies.start("telling", "0", environment=environment, folder=folder, output=output), Copy
        )
    assert process.wait(60) == 0


@pytest.mark.parametrize("new", [False, True])
def test_a_module_that_an_interpreter_imports_first_runs_before_lavoro(folder: Path, new: bool) -> None:
    (folder / "sitecustomize.py").write_text("import sys\nsys.early = 'lavoro' in sys.modules, sys.argv[1:]\n")
    (folder / "early.py").write_text("import sys\nprint(sys.early)\n")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", **({"PYTHONWARNINGS": "ignore"} if new else {})}
    assert copies.run("early", "x", environment=environment, folder=folder).stdout == "(False, ['x'])\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_by_a_signal_is_told(folder: Path, number: int) -> None:
    with (folder / "output").open("wb+", buffering=0) as output:
        process = copies.start("waiting", environment={**os.environ}, folder=folder, output=output)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(60) == process.poll() == -number
        process.send_signal(number)


IMPORTING = """
import sys
from importlib import import_module

for library in {libraries}:
    import_module(library)
known = set(sys.modules)
import lavoro.cli.worker
print(*sorted({{name.partition(".")[0] for name in sys.modules.keys() - known}} - sys.stdlib_module_names))
"""


def test_a_command_imports_no_library_anew() -> None:
    """A library that the copied process does not know is imported by each command of a test."""
    code = IMPORTING.format(libraries=origin.LIBRARIES)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["lavoro"]
