"""What runs the checks fits together: the Makefile, .ci/run, the workflow and the pages that name their targets."""

from __future__ import annotations

import os
import re
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
WORKFLOW = REPOSITORY / ".github/workflows/checks.yml"
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = {target for targets in re.findall(r"^([a-z][\w -]*):", MAKEFILE, re.MULTILINE) for target in targets.split()}


def jobs() -> dict[str, dict[str, Any]]:
    jobs: dict[str, dict[str, Any]] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return jobs


def commands() -> list[str]:
    """The shell commands of the workflow, once for each value of a variable of the matrix that names targets."""
    found = []
    for job in jobs().values():
        made = job.get("strategy", {}).get("matrix", {}).get("make", [""])
        lines = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
        found += [line.replace("${{ matrix.make }}", target) for line in lines for target in made]
    return found


def made(text: str) -> set[str]:
    """The targets of the commands of a script."""
    return set(re.findall(r"(?:^|[&|;] ?)\s*make ([a-z][a-z-]*)", text, re.MULTILINE))


def told(page: str) -> set[str]:
    """The targets that a page names, in code."""
    return set(re.findall(r"(?:^ {4}|^\$ |`)make ([a-z][a-z-]*)", page, re.MULTILINE))


def test_every_target_that_is_named_exists() -> None:
    assert made("\n".join(commands())) >= {"lint", "test", "test-versions", "test-all", "celery-suite"}
    assert made((REPOSITORY / ".ci/run").read_text()) >= {"lint", "test", "test-versions", "bench-smoke"}
    named = {path: told(path.read_text()) for path in PAGES}
    named |= {REPOSITORY / ".ci/run": made((REPOSITORY / ".ci/run").read_text()), WORKFLOW: made("\n".join(commands()))}
    assert set().union(*named.values()) >= {"check", "demo", "soak"}
    assert {str(path): names - TARGETS for path, names in named.items() if names - TARGETS} == {}


def test_every_target_without_a_file_is_phony() -> None:
    [phony] = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.replace("\\\n", " ").split()) == TARGETS


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_make_can_read_every_target(target: str) -> None:
    done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_processes_keep_compiled_modules(tmp_path: Path) -> None:
    """Also where the environment forbids it, as images for containers do."""
    (tmp_path / "tell").write_text("tell:\n\t@env\n")
    command = ["make", "-f", "Makefile", "-f", str(tmp_path / "tell"), "tell"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True).stdout
    assert "PATH=" in told
    assert "PYTHONDONTWRITEBYTECODE" not in told


def test_the_workflow_runs_all_that_the_local_run_does() -> None:
    targets = made((REPOSITORY / ".ci/run").read_text())
    assert targets - made("\n".join(commands())) == set()


def test_actions_are_pinned() -> None:
    """By the hash of a commit, with its version beside it: a tag may be moved."""
    used = re.findall(r"uses: (.*)", WORKFLOW.read_text())
    assert used
    assert [use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []


def test_every_supported_version_is_tested() -> None:
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    supported = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    matrices = {name: job["strategy"]["matrix"] for name, job in jobs().items() if "strategy" in job}
    assert matrices["tests"]["python"] == matrices["versions"]["python"] == supported
    assert matrices["versions"]["postgres"] == ["14", "16", "17", "18"]  # .ci/run takes 15
