"""Packs a folder into one compressed archive."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from .folders import whole

LEFT_OUT = frozenset({"__pycache__", "node_modules", "instance", "build", "dist"})


def files_of(folder: Path) -> list[Path]:
    """List the folder's files in order; hidden ones, caches and links are left out.

    A link could point anywhere on the machine, and hidden files are where secrets live.
    """
    return sorted(path for path in walk(folder) if path.is_file())


def walk(folder: Path) -> Iterator[Path]:
    """Yield all that is wanted below the folder."""
    for path in folder.iterdir():
        if path.is_symlink() or path.name.startswith(".") or path.name in LEFT_OUT:
            continue
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


def pack(folder: Path, files: Sequence[Path], target: Path) -> Iterator[int]:
    """Write ``target`` (.tar.gz) and yield the number of bytes read after each file."""
    read = 0
    with whole(target) as part, tarfile.open(part, "w:gz", compresslevel=6) as archive:
        for path in files:
            archive.add(path, arcname=str(Path(folder.name) / path.relative_to(folder)), recursive=False)
            read += path.stat().st_size
            yield read
