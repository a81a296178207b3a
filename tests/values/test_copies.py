"""A copy of a process that has imported the libraries is to a program what a new interpreter is."""

from __future__ import annotations

import json
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
    "name": __name__, "imported": "lavoro.app" in sys.modules, "tests": "tests" in sys.modules,
    "files": os.listdir("/proc/self/fd")[3:-1],
    "stdin": sys.stdin.read(), "signal": str(__import__("signal").getsignal(17)),
}), flush=True)
print("error", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""

SUPERVISING = """
import json, os, subprocess, sys
code = '''
import json, os, sys  # as lavoro.worker.child.child
os.write(int(sys.argv[1]), json.dumps({
    "parent": os.getppid(), "leads": os.getsid(0) == os.getpid(), "told": os.environ["TOLD"], "folder": os.getcwd(),
    "imported": "lavoro.app" in sys.modules, "shown": open("/proc/self/cmdline").read().split(chr(0))[1:4],
    "files": len({"0", "1", "2", sys.argv[1], *os.listdir("/proc/self/fd")}) == 5,  # with that of the list
}).encode())
os._exit(3) if "end" in sys.argv else os.kill(os.getpid(), 9)
'''
os.environ["TOLD"] = "late"
os.chdir("/")
for how in ("end", "kill"):
    ours, theirs = os.pipe()
    command = [sys.executable, "-c", code, str(theirs), how]
    child = subprocess.Popen(command, pass_fds=[theirs], start_new_session=True)
    os.close(theirs)
    told = json.loads(os.read(ours, 10_000))
    shown = told.pop("shown") == ["-c", code, str(theirs)]
    print(json.dumps({**told, "parent": told["parent"] == os.getpid(), "shown": shown, "end": child.wait(60)}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "telling.py").write_text(TELLING)
    (tmp_path / "failing.py").write_text("raise ValueError('on purpose')\n")
    (tmp_path / "supervising.py").write_text(SUPERVISING)
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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems get a new interpreter")
@pytest.mark.parametrize("copied", [True, False])
def test_a_child_of_a_copied_worker_is_as_a_new_interpreter(folder: Path, copied: bool) -> None:
    """It has the state of its parent at its start; the worker waits for it, and is told its end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOLD": "early"}
    ran = copies.run("supervising", *(["worker"] if copied else []), environment=environment, folder=folder)
    assert ran.stderr == ""
    for line, end in zip(ran.stdout.splitlines(), (3, -signal.SIGKILL), strict=True):
        assert json.loads(line) == {
            "parent": True, "leads": True, "told": "late", "folder": "/", "imported": copied, "shown": True,
            "files": True, "end": end,
        }  # fmt: skip


READING = """
import os, sys
read = type(os.environ).__getitem__
found = set()

def note(self, name):
    frame = sys._getframe(1)
    while frame.f_globals["__name__"] in ("os", "collections.abc"):
        frame = frame.f_back
    if frame.f_globals["__name__"].startswith("lavoro"):
        found.add((frame.f_globals["__name__"], name))
    return read(self, name)

type(os.environ).__getitem__ = note
from tests.origin import import_all
import_all(with_lavoro=True)
import lavoro.testing.pinging
print(*found)
"""


def test_lavoro_reads_no_variable_while_a_worker_and_its_commands_are_imported() -> None:
    """A copy would have the value of the process it is a copy of. A module for tests shows that one is found."""
    ran = subprocess.run([sys.executable, "-c", READING], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout == "('lavoro.testing.pinging', 'WORKER_LOGLEVEL')\n"


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
