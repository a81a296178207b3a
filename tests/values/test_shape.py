"""No class keeps much state, no constructor takes many parameters, no file is long; the exceptions are listed."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

import lavoro

REPOSITORY = Path(__file__).parents[2]
MOST_ATTRIBUTES, MOST_PARAMETERS, MOST_LINES = 12, 5, 600

ATTRIBUTES: dict[str, str] = {"State": "as in Celery: monitors subclass it"}
"""Classes that keep more than 12 attributes, and why."""

PARAMETERS: dict[str, str] = dict.fromkeys(
    (
        "Beat",
        "EventDispatcher",
        "EventReceiver",
        "Inspect",
        "Polaroid",
        "ScheduleEntry",
        "Scheduler",
        "Service",
        "State",
        "Worker",
    ),
    "as in Celery: applications subclass it",
)
"""Classes outside the public API whose constructors take more than 5 parameters, and why."""

LINES: dict[str, str] = {}
"""Files of more than 600 lines, and why."""


class Shape(NamedTuple):
    """A class as its source shows it."""

    attributes: set[str]
    """Its own: those of its bases count there."""
    parameters: int
    is_value: bool
    """Nothing of it changes, so its fields are no state: a named tuple, a typed dictionary, a frozen dataclass."""


def shape(node: ast.ClassDef) -> Shape:
    """Read a class: fields of a dataclass are attributes and parameters, `self.x = ...` anywhere is an attribute."""
    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    dataclasses = [decorator for decorator in decorators if "dataclass" in decorator]
    is_value = bool({"NamedTuple", "TypedDict"} & bases) or any("frozen=True" in each for each in dataclasses)
    fields = _fields(node) if dataclasses else set()
    kept = {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
        if isinstance(each.value, ast.Name) and each.value.id == "self"
    }
    return Shape(kept | fields, _parameters(node, default=len(fields)), is_value)


def _fields(node: ast.ClassDef) -> set[str]:
    annotated = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return {ast.unparse(each.target) for each in annotated if "ClassVar" not in ast.unparse(each.annotation)}


def _parameters(node: ast.ClassDef, *, default: int) -> int:
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            given = each.args
            return len(given.posonlyargs + given.args + given.kwonlyargs) - 1
    return default


def shapes_of(source: str) -> dict[str, Shape]:
    """The classes of a text; of two of one name, both count as one."""
    found: dict[str, Shape] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            new = shape(node)
            old = found.get(node.name)
            found[node.name] = larger(old, new) if old else new
    return found


def larger(one: Shape, other: Shape) -> Shape:
    """The one of two classes that keeps or takes more."""
    return max(one, other, key=lambda each: (not each.is_value, len(each.attributes), each.parameters))


def shapes() -> dict[str, Shape]:
    """The classes of the package."""
    found: dict[str, Shape] = {}
    for path in sorted((REPOSITORY / "lavoro").rglob("*.py")):
        for name, new in shapes_of(path.read_text()).items():
            found[name] = larger(found[name], new) if name in found else new
    return found


def test_classes_keep_few_attributes() -> None:
    """A class with more needs a reason in `ATTRIBUTES`; a reason that nothing needs is deleted."""
    counts = {name: len(each.attributes) for name, each in shapes().items() if not each.is_value}
    over = {name: count for name, count in counts.items() if count > MOST_ATTRIBUTES}
    assert over.keys() == ATTRIBUTES.keys(), over


def test_constructors_take_few_parameters() -> None:
    """Likewise, and `PARAMETERS`. The public classes take what Celery's take."""
    counts = {name: each.parameters for name, each in shapes().items() if not each.is_value}
    over = {name: count for name, count in counts.items() if count > MOST_PARAMETERS and name not in lavoro.__all__}
    assert over.keys() == PARAMETERS.keys(), over


def test_files_are_short() -> None:
    """Likewise, and `LINES`: of the package and of all that belongs to it."""
    folders = ("lavoro", "compat", "tests", "benchmarks", "examples", "docs")
    files = [path for folder in folders for kind in ("py", "sql") for path in (REPOSITORY / folder).rglob(f"*.{kind}")]
    assert len(files) > 300
    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in files}
    over = {name: length for name, length in lengths.items() if length > MOST_LINES}
    assert over.keys() == LINES.keys(), over


def test_lines_of_sql_are_short() -> None:
    """As ruff holds those of Python."""
    files = [path for folder in ("lavoro", "tests", "benchmarks") for path in (REPOSITORY / folder).rglob("*.sql")]
    assert len(files) > 40
    lines = [(path.stem, line) for path in files for line in path.read_text().splitlines()]
    assert [(name, line) for name, line in lines if len(line) > 120] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("class A:\n def __init__(self, a, /, b, *, c):\n  self.x, self.y[0] = a, b", ({"x"}, 3)),
        ("class A:\n def f(self):\n  self.x += 1\n  self.y: int = 2\n  for self.z in (): pass", ({"x", "y", "z"}, 0)),
        ("@dataclass\nclass A:\n x: int\n y: ClassVar[int]\n z: int = 1", ({"x", "z"}, 2)),
    ],
)  # fmt: skip
def test_attributes_and_parameters_are_counted(source: str, expected: tuple[set[str], int]) -> None:
    found = shapes_of(source)["A"]
    assert (found.attributes, found.parameters) == expected


@pytest.mark.parametrize("source", ["class A(NamedTuple):\n x: int", "@dataclass(frozen=True)\nclass A:\n x: int"])
def test_values_keep_no_state(source: str) -> None:
    assert shapes_of(source)["A"].is_value
