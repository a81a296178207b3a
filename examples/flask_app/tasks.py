"""The slow work of the site."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict

from flask import current_app

from lavoro import Task, shared_task

from . import archive, letters, photographs, report
from .folders import ProducedFile, produced, produced_by, uploads
from .models import User, db, now

MAIL_OPTIONS: dict[str, Any] = {
    "bind": True,
    "autoretry_for": (smtplib.SMTPException, OSError),
    "retry_backoff": 1,  # waits up to 1, 2, 4, 8 ... seconds; a real site starts with a minute
    "retry_backoff_max": 600,
    "max_retries": 8,
}


class Done(TypedDict):
    """The result of every task here: what was made, how large it is, in which start and in how many seconds."""

    note: str
    files: list[ProducedFile]
    bytes: int
    attempts: int
    seconds: float


@shared_task(**MAIL_OPTIONS)
def send_welcome(self: Task[..., Done], user_id: int) -> Done:
    """Greet a new user."""
    started = time.perf_counter()
    user = db.session.get_one(User, user_id)
    size = letters.post(letters.write("welcome", "Welcome to the Darkroom", user))
    user.welcomed = now()
    db.session.commit()
    return done(self, started, user.email, size)


@shared_task(**MAIL_OPTIONS)
def send_reminder(self: Task[..., Done], user_id: int) -> Done:
    """Remind a user, some time after the sign-up, to bring a photograph."""
    started = time.perf_counter()
    user = db.session.get_one(User, user_id)
    size = letters.post(letters.write("reminder", "Your first photograph", user))
    user.reminded = now()
    db.session.commit()
    return done(self, started, user.email, size)


@shared_task(bind=True, soft_time_limit=60, time_limit=90)
def resize_photograph(self: Task[..., Done], upload: str) -> Done:
    """Make all sizes of an uploaded photograph; ``upload`` is its name in the folder of uploads."""
    started = time.perf_counter()
    files: list[ProducedFile] = []
    tell(self, 0, len(photographs.SIZES), "Reading the photograph")
    for file in photographs.resize(uploads() / upload, produced_by(str(self.request.id))):
        files.append(file)
        tell(self, len(files), len(photographs.SIZES), f"{file['name']} is ready")
    return done(self, started, f"{len(files)} sizes", files=files)


@shared_task(bind=True, soft_time_limit=60, time_limit=90)
def write_report(self: Task[..., Done]) -> Done:
    """Write a PDF about what the site has done today."""
    started = time.perf_counter()
    tell(self, 0, 3, "Collecting the numbers")
    facts = report.collect()
    tell(self, 1, 3, "Setting the pages")
    path = produced_by(str(self.request.id)) / "report.pdf"
    pages = report.write(facts, path)
    tell(self, 3, 3, "Bound")
    return done(self, started, f"{pages} page{'s' * (pages != 1)}", files=[produced(path, "PDF")])


@shared_task(bind=True, soft_time_limit=300, time_limit=330)
def back_up(self: Task[..., Done]) -> Done:
    """Pack the configured folder into a compressed archive."""
    started = time.perf_counter()
    folder = Path(current_app.config["BACKUP_FOLDER"]).absolute()
    files = archive.files_of(folder)
    total = sum(path.stat().st_size for path in files)
    target = produced_by(str(self.request.id)) / f"{folder.name}.tar.gz"
    told = started
    for read in archive.pack(folder, files, target):
        if time.perf_counter() - told > 0.2:  # the page asks a few times a second; telling it more often is waste
            told = time.perf_counter()
            tell(self, read, total, f"{read / 1e6:.1f} of {total / 1e6:.1f} MB packed")
    return done(self, started, f"{len(files)} files, {total / 1e6:.1f} MB", files=[produced(target, "compressed")])


def tell(task: Task[..., Done], finished: int, total: int, doing: str) -> None:
    """Say how far the task is; whoever asks for its state sees it."""
    task.update_state(state="PROGRESS", meta={"done": finished, "total": total, "doing": doing})


def done(
    task: Task[..., Done], started: float, note: str, size: int = 0, *, files: Sequence[ProducedFile] = ()
) -> Done:
    """Make the result of a task that began at ``started`` (perf_counter) and made files, or else ``size`` bytes."""
    return {
        "note": note,
        "files": list(files),
        "bytes": sum(file["bytes"] for file in files) or size,
        "attempts": task.request.retries + 1,
        "seconds": round(time.perf_counter() - started, 3),
    }
