"""Where uploads and produced files are kept, and how they get there whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from flask import current_app


class ProducedFile(TypedDict):
    """A file a task made, as it stands in the task's result."""

    name: str
    bytes: int
    detail: str


def uploads() -> Path:
    """Return the folder of what visitors sent."""
    return made(Path(current_app.config["DATA_FOLDER"]).absolute() / "uploads")


def produced_by(task_id: str) -> Path:
    """Return the folder of what one task made."""
    return made(Path(current_app.config["DATA_FOLDER"]).absolute() / "produced" / task_id)


def made(folder: Path) -> Path:
    """Return the folder, which exists from now on."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes ``path`` only if all went well.

    A task may be started twice (at least once is the promise): half a file is never seen, and a second start replaces
    the first one's.
    """
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def produced(path: Path, detail: str) -> ProducedFile:
    """Describe a finished file."""
    return {"name": path.name, "bytes": path.stat().st_size, "detail": detail}
