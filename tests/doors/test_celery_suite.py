"""The lists of tests/celery_suite: Celery's own unit tests, which of them are left out, and which fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.celery_suite import listed

LIST = """\
# A comment.

The first difference.
    a.py::test_one
    a.py::test_two

The second difference.
    b.py::test_*
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "failing.txt").write_text(LIST)
    monkeypatch.setattr(listed, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("entry", [*listed.LEFT_OUT, *listed.FAILING], ids=lambda entry: entry.pattern)
def test_each_entry_has_a_sentence(entry: listed.Entry) -> None:
    assert re.fullmatch(r"\S.{20,}\.", entry.sentence), entry.sentence


def test_entry_of_a_test(folder: Path) -> None:
    entries = listed.read("failing.txt")
    assert listed.entry_for(entries, "a.py::test_one[x]") == ("a.py::test_one", "The first difference.")
    assert listed.entry_for(entries, "b.py::test_x") == ("b.py::test_*", "The second difference.")
    assert listed.entry_for(entries, "a.py::test_three") is None


def test_entry_that_stands_there_twice_is_refused(folder: Path) -> None:
    (folder / "failing.txt").write_text(f"{LIST}    a.py::test_one\n")
    with pytest.raises(ValueError, match="a.py::test_one has no sentence, or stands there twice"):
        listed.read("failing.txt")


def test_tests_that_pass_are_taken_out_with_a_sentence_that_has_none_left(folder: Path) -> None:
    listed.trim(["a.py::test_one"])
    assert (folder / "failing.txt").read_text() == LIST.replace("    a.py::test_one\n", "")
    listed.trim(["a.py::test_two"])
    assert [entry.pattern for entry in listed.read("failing.txt")] == ["b.py::test_*"]
