"""The package keeps its shape: floors, no cycles, files that say what they are."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "lavoro"
FILES = [pytest.param(file, id=str(file.relative_to(REPOSITORY))) for file in sorted(PACKAGE.rglob("*.py"))]


def test_imports_only_go_down() -> None:
    # In a process of its own: it configures logging, which would disable the loggers of the other tests.
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache"]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == 0


def test_no_module_imports_itself_through_others() -> None:
    imports = grimp.build_graph("lavoro", exclude_type_checking_imports=True, cache_dir=None)
    graph = {module: imports.find_modules_directly_imported_by(module) for module in imports.modules}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_every_statement_is_in_the_wheel() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    packed = {
        file
        for package, patterns in setup["options.package_data"].items()
        for pattern in patterns.replace(",", " ").split()
        for file in REPOSITORY.joinpath(*package.split(".")).glob(pattern)
    }
    assert {*PACKAGE.rglob("*.sql")} - packed == set()


@pytest.mark.parametrize("file", FILES)
def test_module_says_in_one_sentence_what_it_is(file: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring, "no module docstring"
    sentence = docstring.splitlines()[0]
    assert re.fullmatch(r"\S.*[.!?]", sentence), f"not a sentence that ends on its line: {sentence!r}"
    assert not re.search(r"[.!?] [A-Z]", sentence), f"more than one sentence: {sentence!r}"
