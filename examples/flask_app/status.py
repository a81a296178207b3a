"""What the page and the report say about a job."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import current_app, url_for
from sqlalchemy import select

from .models import Digest, Job, db, now

TONES = {
    "PENDING": "waiting",
    "RECEIVED": "waiting",
    "STARTED": "working",
    "PROGRESS": "working",
    "RETRY": "retrying",
    "SUCCESS": "done",
    "FAILURE": "failed",
    "REVOKED": "failed",
}


def recent_jobs() -> Sequence[Job]:
    """Return the newest jobs of the last day, the time for which results are kept."""
    recent = select(Job).where(Job.created > now() - timedelta(days=1)).order_by(Job.created.desc(), Job.id.desc())
    return db.session.scalars(recent.limit(24)).all()


def describe(job: Job) -> dict[str, Any]:
    """Return what is known of a job: its own row and its task's state, progress, error or result."""
    result = current_app.extensions["lavoro"].AsyncResult(job.id)
    # State first: what is read afterwards can only be newer, and a final state never changes again.
    state, info = result.state, result.info
    known: dict[str, Any] = {"id": job.id, "kind": job.kind, "title": job.title, "created": job.created.timestamp()}
    known |= {"state": state, "tone": tone(job, state), "due": job.due and job.due.timestamp(), "files": []}
    if state == "SUCCESS":
        known |= info | {"finished": result.date_done.timestamp()}
    elif isinstance(info, BaseException):
        known |= {"note": in_words(info), "attempts": (result.retries or 0) + 1}
    elif isinstance(info, dict) and "total" in info:
        known |= {"progress": info["done"] / max(info["total"], 1), "note": info["doing"]}
    return known


def tone(job: Job, state: str) -> str:
    """Return the word for a state that visitors understand."""
    if state == "PENDING" and job.due and job.due > now():
        return "scheduled"
    return TONES.get(state, "working")


def in_words(error: BaseException) -> str:
    """Return an error as a visitor may read it."""
    if isinstance(error, smtplib.SMTPResponseException):
        answer = error.smtp_error
        return f"{error.smtp_code} {answer.decode(errors='replace') if isinstance(answer, bytes) else answer}"
    return f"{type(error).__name__}: {error}"


def periodic() -> list[dict[str, Any]]:
    """Return what the site does by itself: each schedule with the times of its last and its next run."""
    schedules = current_app.extensions["lavoro"].schedules
    return [
        {
            "name": schedule.name,
            "timing": schedule.timing,
            "last": schedule.last_at and schedule.last_at.timestamp(),
            "next": schedule.next_at and schedule.next_at.timestamp(),
            "paused": schedule.paused_at is not None,
            "runs": schedule.runs,
        }
        for schedule in schedules
    ]


def last_digest() -> dict[str, Any] | None:
    """Return the newest digest."""
    digest = db.session.scalars(select(Digest).order_by(Digest.until.desc()).limit(1)).first()
    return None if digest is None else {"until": digest.until.timestamp(), "people": digest.people, "jobs": digest.jobs}


def with_addresses(known: dict[str, Any]) -> dict[str, Any]:
    """Add where each file can be fetched; needs a request, which the report's task does not have."""
    addresses = [url_for("site.download", task_id=known["id"], name=file["name"]) for file in known["files"]]
    return known | {"files": [file | {"url": url} for file, url in zip(known["files"], addresses, strict=True)]}
