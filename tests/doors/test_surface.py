"""The record of Celery's names, the alias, the list of differences and the table of compat/README.md agree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.doors.test_alias import ask

COMPAT = Path(__file__).parents[2] / "compat"


def check(folder: Path) -> tuple[int, list[str]]:
    ended = subprocess.run(
        [sys.executable, str(folder / "surface.py"), "--check"], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.split("\n")[:-1]


def test_each_name_of_celery_is_the_same_or_has_its_sentence() -> None:
    assert check(COMPAT) == (0, [""])


def test_what_is_not_told_is_found(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(COMPAT, tmp_path / "compat", ignore=shutil.ignore_patterns("__pycache__")))

    def replace(file: str, old: str, new: str) -> None:
        text = folder.joinpath(file).read_text()
        assert old in text
        folder.joinpath(file).write_text(text.replace(old, new))

    replace("celery/surface.json", '"allow_join_result": "()"', '"allow_join_result": "(all=False)", "deny": "()"')
    replace("differences.txt", "    celery.app.task.Task.bind\n", "    celery.app.task.Task.delay\n")
    replace("README.md", "Ask sys.platform.", "Ask nobody.")
    code, faults = check(folder)
    assert code == 1
    assert [fault for fault in faults if "Task.annotate" not in fault] == [
        "celery.app.task.Task.bind: Celery has (app), Lavoro (self, app)",
        "celery.result.allow_join_result: Celery has (all=False), Lavoro ()",
        "differences.txt has celery.app.task.Task.delay, which is the same",
        "README.md is not what surface.py writes: run `make surface`",
    ]


CALLS = {
    ("(a, b=1)", "(a, b=1)"): True,
    ("(a, b=1)", "(a, b=1, c=2)"): True,
    ("(a, b=1)", "(a, b=1, *, c)"): False,
    ("(a, b=1)", "(a, b=2)"): False,
    ("(a, b)", "(a, b=2)"): True,
    ("(a, b=1)", "(b=1, a=2)"): False,
    ("(a, b=1)", "(a)"): False,
    ("(a, b=1)", "(*args, **kwargs)"): True,
    ("(a, b=...)", "(a, b=3)"): True,
    ("(a, _cached=1)", "(a)"): True,
    ("(*args, **kwargs)", "(**kwargs)"): False,
    ("(a, **kwargs)", "(a, **given)"): True,
    ("(a, b=1)", "(a, *, b=1)"): False,
}


def test_signatures_that_take_the_same_calls() -> None:
    code = f"""
import sys
sys.path.insert(0, {str(COMPAT)!r})
from surface import fits
answer = [fits(theirs, ours) for theirs, ours in {list(CALLS)!r}]
"""
    assert ask(code) == list(CALLS.values())
