"""Brings the tests of Celery's source distribution into a cache folder."""

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
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lavoro"
    version = REQUIREMENT.read_text().split()[0]
    folder = cache / version.replace("==", "-")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as place:
            _unpack(_download(Path(place)), Path(place) / "unpacked").rename(folder)
    return folder


def _download(place: Path) -> Path:
    options = ["--no-deps", "--no-binary", "celery", "--require-hashes", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(place), "-r", str(REQUIREMENT)]
    subprocess.run(command, check=True)
    (archive,) = place.glob("celery-*.tar.gz")
    return archive


def _unpack(archive: Path, place: Path) -> Path:
    with tarfile.open(archive) as opened:
        members = [
            member for member in opened.getmembers()
            if member.isfile() and _inside(member.name).startswith(("t/", "pyproject.toml"))
        ]  # fmt: skip
        for member in members:
            target = place / _inside(member.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = opened.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())
    return place


def _inside(name: str) -> str:
    return name.partition("/")[2]
