"""The differential run: what it takes for a difference, and that the guide tells of those that are meant."""

from __future__ import annotations

import re
from pathlib import Path

from tests.differential.compare import ABSENT, Difference, Meant, differences, judge
from tests.differential.meant import MEANT
from tests.differential.program import find_programs

GUIDE = Path(__file__).parents[2] / "docs/guides/migrate-from-celery.md"

ENTRY = Meant("calls", "state*", celery="'A'", lavoro="[1, *]", why="It is better.", row="states")


def test_values_that_are_not_equal_and_keys_of_one_side_are_differences() -> None:
    found = differences("calls", "solo", {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4", "d": "5"})
    assert found == [
        Difference("calls", "solo", "b", "2", "4"),
        Difference("calls", "solo", "c", "3", ABSENT),
        Difference("calls", "solo", "d", ABSENT, "5"),
    ]


def test_a_difference_that_is_meant_is_told_by_all_of_its_values() -> None:
    meant = Difference("calls", "solo", "state of task", "'A'", "[1, 2]")
    others = [
        meant._replace(program="results"),
        meant._replace(key="kind"),
        meant._replace(celery="'B'"),
        meant._replace(lavoro="1, 2"),
    ]
    verdict = judge([meant, *others], [ENTRY], [("calls", "solo")])
    assert verdict.explained == [(meant, ENTRY)]
    assert verdict.unexplained == others
    assert judge([meant], [ENTRY._replace(pool="gevent")], []).unexplained == [meant]


def test_an_entry_without_a_difference_is_found_where_its_program_ran() -> None:
    assert judge([], [ENTRY], [("calls", "solo")]).no_longer == [ENTRY]
    assert judge([], [ENTRY], [("results", "solo")]).no_longer == []
    assert judge([], [ENTRY._replace(pool="gevent")], [("calls", "solo")]).no_longer == []


def test_programs_say_what_they_are_about() -> None:
    programs = find_programs()
    assert programs["hello"].pools[0] == "default"
    names = set(programs)
    assert {entry.program for entry in MEANT if "*" not in entry.program} <= names


def test_the_guide_tells_of_each_difference_that_is_meant() -> None:
    section = GUIDE.read_text().partition("## Differences")[2].partition("\n## Settings")[0]
    rows = {match[1] for match in re.finditer(r"^\| (.+?) \|", section, flags=re.MULTILINE)}
    assert {entry.row for entry in MEANT} - rows == set()
    assert all(entry.why.endswith(".") for entry in MEANT)
