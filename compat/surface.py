"""Compares the alias with Celery's recorded names and writes the table of README.md: ``python compat/surface.py``.

With ``--check`` it writes nothing, tells what is wrong, and ends with exit code 1 if anything is.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from celery._stand_in import StandIn
from record_surface import signature

FOLDER = Path(__file__).parent
README = FOLDER / "README.md"
BEGIN, END = "<!-- written by surface.py -->\n", "<!-- end -->\n"
MISSING = object()


class Refusal(str):
    """The sentence with which a class or module refuses a name."""


class Row(NamedTuple):
    """A name of Celery's; without a sentence it is the same in Lavoro."""

    path: str
    absent: bool = False
    sentence: str = ""

    @property
    def module(self) -> str:
        """The module of the name."""
        return max((name for name in recorded() if f"{self.path}.".startswith(f"{name}.")), key=len)

    @property
    def name(self) -> str:
        """The name in its module, of a member with its class."""
        return self.path.removeprefix(f"{self.module}.")


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """Celery's names."""
    found: dict[str, dict[str, Any]] = json.loads((FOLDER / "celery" / "surface.json").read_text())
    return found


class Listed:
    """The sentences of differences.txt, each with the paths, or patterns of paths, that it is about."""

    def __init__(self) -> None:
        self.sentences: dict[str, str] = {}
        self.used: set[str] = set()
        sentence = ""
        for line in (FOLDER / "differences.txt").read_text().splitlines():
            if line.startswith("    "):
                self.sentences[line.strip()] = sentence
            elif line and not line.startswith("#"):
                sentence = line

    def of(self, path: str) -> str:
        """The sentence for a path, or nothing."""
        for pattern in (path, *self.sentences):
            if pattern in self.sentences and fnmatchcase(path, pattern):
                self.used.add(pattern)
                return self.sentences[pattern]
        return ""


def compare(listed: Listed, faults: list[str]) -> Iterator[Row]:
    """Yield a row for each name and member; what is neither the same nor listed is a fault."""
    for module, names in recorded().items():
        for name, entry in names.items():
            path = f"{module}.{name}"
            ours = _found(import_module(module), name)
            imported = isinstance(entry, str) and not entry.startswith(("(", f"{module}."))
            if isinstance(ours, (StandIn, Refusal)) and imported:
                continue
            if isinstance(ours, StandIn):
                yield Row(path, True, ours._sentence)
            elif isinstance(ours, Refusal):
                yield Row(path, True, ours)
            elif isinstance(entry, dict):
                yield from _compared(path, entry["signature"], ours, listed, faults)
                sample = _sample(path, ours)
                for member, text in entry["members"].items():
                    yield from _compared(f"{path}.{member}", text, _found(ours, member, sample), listed, faults)
            elif not isinstance(entry, str) or entry.startswith("("):
                yield from _compared(path, entry, ours, listed, faults)
            elif entry.startswith(f"{module}."):  # other imports of Celery's modules are not told
                yield Row(path)


def _found(owner: Any, name: str, sample: Any = None) -> Any:
    """A value, a Refusal, or MISSING."""
    try:
        found = inspect.getattr_static(owner, name) if inspect.isclass(owner) else getattr(owner, name)
        if isinstance(found, (classmethod, staticmethod)):
            return getattr(owner, name)
        if not inspect.isfunction(found):
            getattr(owner, name)  # an attribute that raises its sentence
    except NotImplementedError as error:
        return Refusal(str(error).partition(": ")[2])
    except AttributeError:
        return getattr(sample, name, MISSING)
    return found


def _sample(path: str, cls: type) -> Any:
    """An object of a class, for the attributes that only its objects have."""
    arguments: dict[str, tuple[Any, ...]] = {
        "celery.result.AsyncResult": ("id",),
        "celery.result.EagerResult": ("id", 1, "SUCCESS"),
        "celery.result.ResultSet": ([],),
        "celery.schedules.schedule": (1,),
    }
    try:
        return cls(*arguments.get(path, ()))
    except (AttributeError, TypeError, NotImplementedError):  # of one that needs an application
        return None


def _compared(path: str, theirs: str | None, ours: Any, listed: Listed, faults: list[str]) -> Iterator[Row]:
    own = signature(ours) if ours is not MISSING and not isinstance(ours, Refusal) else None
    if isinstance(ours, Refusal) and theirs is not None:
        yield Row(path, True, ours)
    elif ours is not MISSING and (theirs is None or own is None or fits(theirs, own)):
        yield Row(path)
    elif sentence := listed.of(path):
        yield Row(path, ours is MISSING, sentence)
    elif isinstance(ours, Refusal):
        yield Row(path, True, ours)
    else:
        faults.append(f"{path}: Celery has {theirs or 'it'}, Lavoro {'nothing' if ours is MISSING else own}")


def fits(theirs: str, ours: str) -> bool:
    """Tell whether each call that fits Celery's signature fits ours, with the same defaults."""
    wanted, given = _parameters(theirs), _parameters(ours)
    if (wanted.rest and not given.rest) or (wanted.keywords and not given.keywords):
        return False
    own = list(given.positional.items())
    for place, (name, default) in enumerate(wanted.positional.items()):
        if place < len(own):
            if own[place][0] != name or default not in (None, "...", own[place][1]):
                return False
        elif not (given.rest and given.keywords):
            return False
    more = {**dict(own[len(wanted.positional) :]), **given.named}
    return all(default is not None or name in wanted.named for name, default in more.items())


class _Parameters(NamedTuple):
    positional: Mapping[str, str | None]
    named: Mapping[str, str | None]
    rest: bool
    keywords: bool


def _parameters(text: str) -> _Parameters:
    (function,) = ast.parse(f"def f{text}: ...").body
    assert isinstance(function, ast.FunctionDef)
    found = function.args
    places = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(places) - len(found.defaults)) + [ast.unparse(default) for default in found.defaults]
    named = {
        each.arg: ast.unparse(default) if default else None
        for each, default in zip(found.kwonlyargs, found.kw_defaults, strict=True)
    }
    positional = {
        each.arg: default for each, default in zip(places, defaults, strict=True) if not each.arg.startswith("_")
    }
    return _Parameters(positional, named, found.vararg is not None, found.kwarg is not None)


def table(rows: list[Row]) -> str:
    """The part of README.md."""
    absent, same = sum(row.absent for row in rows), sum(not row.sentence for row in rows)
    counts = f"{same} are the same, {len(rows) - absent - same} differ and {absent} are absent"
    lines = [f"Of Celery's public names, and the members of classes that are here, {counts}."]
    lines += ["", "| | the same |", "|---|---|"]
    for module, found in _grouped((row for row in rows if not row.sentence), by="module").items():
        names = sorted({row.name.partition(".")[0] for row in found})
        lines.append(f"| `{module}` | {_code(names)} |")
    lines += ["", "| different | |", "|---|---|"]
    for sentence, found in _grouped((row for row in rows if row.sentence and not row.absent), by="sentence").items():
        lines.append(f"| {sentence} | {_code(row.path.removeprefix('celery.') for row in found)} |")
    lines += ["", "| absent, because | |", "|---|---|"]
    for sentence, found in _grouped((row for row in rows if row.absent), by="sentence").items():
        lines.append(f"| {sentence} | {_code(_shortened(found, rows))} |")
    return "\n".join(lines) + "\n"


def _grouped(rows: Iterator[Row], *, by: str) -> dict[str, list[Row]]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, by)].append(row)
    return dict(groups)


def _code(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _shortened(absent: list[Row], rows: list[Row]) -> list[str]:
    """Names; for a module of which nothing is there, or a package of such modules, it alone."""
    there = {row.module for row in rows if not row.absent}
    reasons: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        reasons[row.module].add(row.sentence)

    def whole(name: str) -> bool:
        inside = [module for module in recorded() if f"{module}.".startswith(f"{name}.")]
        return not there.intersection(inside) and len(set().union(*(reasons[module] for module in inside))) == 1

    def shown(row: Row) -> str:
        parts = row.module.split(".")
        packages = (".".join(parts[:length]) for length in range(2, len(parts) + 1))
        return next((name for name in packages if whole(name)), row.path)

    return list(dict.fromkeys(map(shown, absent)))


def main() -> None:
    """Write the table, or check it."""
    warnings.simplefilter("ignore")
    listed, faults = Listed(), list[str]()
    rows = list(compare(listed, faults))
    faults += [
        f"differences.txt has {pattern}, which is the same"
        for pattern in listed.sentences
        if pattern not in listed.used
    ]
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    written = f"{before}{BEGIN}\n{table(rows)}\n{END}{after}"
    if "--check" not in sys.argv:
        README.write_text(written)
    elif written != text:
        faults.append("README.md is not what surface.py writes: run `make surface`")
    print(*faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
