"""Brings parts of source distributions into a cache folder: the tests of Celery's, and packages that use Celery."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
REQUIREMENT = REPOSITORY / "requirements" / "celery-source.txt"
"""Names the version, with the hash of its source distribution."""


def fetch() -> Path:
    """Return the folder with Celery's `t` and `pyproject.toml`, and nothing else: downloaded once for each version."""
    return fetch_named(REQUIREMENT.read_text(), "t/", "pyproject.toml")


def fetch_named(requirement: str, *parts: str) -> Path:
    """Return the folder with these parts of a source distribution, and nothing else of it.

    ``requirement`` is a line for pip: the version and the hash of the source distribution.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lavoro"
    folder = cache / requirement.split()[0].replace("==", "-")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as place:
            _unpack(_download(requirement, Path(place)), Path(place) / "unpacked", parts).rename(folder)
    return folder


def _download(requirement: str, place: Path) -> Path:
    file = place / "requirement.txt"
    file.write_text(requirement)
    name = requirement.partition("==")[0]  # what it is built with may come as wheels
    options = ["--no-deps", "--no-binary", name, "--require-hashes", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(place), "-r", str(file)]
    subprocess.run(command, check=True)
    (archive,) = place.glob("*.tar.gz")
    return archive


def _unpack(archive: Path, place: Path, parts: tuple[str, ...]) -> Path:
    with tarfile.open(archive) as opened:
        members = [
            member for member in opened.getmembers() if member.isfile() and _inside(member.name).startswith(parts)
        ]
        for member in members:
            target = place / _inside(member.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = opened.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())
    return place


def _inside(name: str) -> str:
    return name.partition("/")[2]
