"""The tasks that nobody orders."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypedDict

from flask import current_app
from sqlalchemy import delete, func, select

from lavoro import Task, shared_task

from ..models import Digest, Job, User, db, now

KEPT = timedelta(days=1)
"""Results are kept as long: what is older has no card on the page any more."""


class Cleaned(TypedDict):
    """The result of a clean-up."""

    jobs: int
    paths: int


@shared_task(bind=True)
def write_digest(self: Task[..., int], minutes: int = 5) -> int:
    """Count what visitors did until the time of the tick, however late it comes; return the digest's number.

    A tick has one digest: a second start of the task finds the first one's row.
    """
    until = self.request.nominal_time or now()
    since = until - timedelta(minutes=minutes)
    known = db.session.scalar(select(Digest).where(Digest.until == until))
    if known is not None:
        return known.id
    people = select(func.count()).select_from(User).where(User.created > since, User.created <= until)
    jobs = select(func.count()).select_from(Job).where(Job.created > since, Job.created <= until)
    digest = Digest(until=until, people=db.session.scalar(people) or 0, jobs=db.session.scalar(jobs) or 0)
    db.session.add(digest)
    db.session.commit()
    return digest.id


@shared_task
def clean_up() -> Cleaned:
    """Delete what is older than a day: jobs, digests, uploads, and the files that tasks made."""
    before = now() - KEPT
    jobs = len(db.session.scalars(delete(Job).where(Job.created < before).returning(Job.id)).all())
    db.session.execute(delete(Digest).where(Digest.until < before))
    db.session.commit()
    old = [path for path in kept_paths() if datetime.fromtimestamp(path.stat().st_mtime, timezone.utc) < before]
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {"jobs": jobs, "paths": len(old)}


def kept_paths() -> list[Path]:
    """List the uploads, and the folders of what tasks made."""
    folder = Path(current_app.config["DATA_FOLDER"]).absolute()
    return [path for name in ("uploads", "produced") if (folder / name).is_dir() for path in (folder / name).iterdir()]
