"""The site's pages: one page for people, a status in JSON, four forms, the downloads."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    jsonify,
    redirect,
    render_template,
    request,
    send_from_directory,
    url_for,
)
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import IntegrityError
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.utils import secure_filename

from lavoro import Task

from . import photographs, tasks
from .folders import produced_by, uploads
from .models import Job, User, db, now
from .status import describe, last_digest, periodic, recent_jobs, with_addresses

POLICY = "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"

site = Blueprint("site", __name__)


@site.get("/")
def page() -> str:
    """Show the forms and, once its script has asked for them, the jobs."""
    return render_template("page.html", reminder_seconds=current_app.config["REMINDER_SECONDS"])


@site.get("/status.json")
def status() -> Response:
    """Tell the state of the recent jobs, and what the site does by itself."""
    jobs = [with_addresses(describe(job)) for job in recent_jobs()]
    return jsonify(jobs=jobs, schedules=periodic(), digest=last_digest(), now=now().timestamp())


@site.post("/sign-up")
def sign_up() -> ResponseReturnValue:
    """Write the user, the welcome and the reminder in one transaction: all three are there afterwards, or none is."""
    name, email = name_of(request.form), email_of(request.form)
    seconds = float(current_app.config["REMINDER_SECONDS"])
    try:
        user = User(name=name, email=email)
        db.session.add(user)
        db.session.flush()
        welcome = order(tasks.send_welcome, user.id, kind="welcome", title=f"Welcome {name}")
        reminder = order(tasks.send_reminder, user.id, kind="reminder", title=f"Remind {name}", countdown=seconds)
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        abort(409, "This address has signed up before.")
    return accepted(welcome, reminder)


@site.post("/photographs")
def photograph() -> ResponseReturnValue:
    """Take a photograph and have its sizes made."""
    name, title = store(request.files.get("photograph"))
    return accepted(ordered(tasks.resize_photograph, name, kind="photo", title=title))


@site.post("/reports")
def report() -> ResponseReturnValue:
    """Have a report written."""
    return accepted(ordered(tasks.write_report, kind="report", title="Report of the day"))


@site.post("/backups")
def backup() -> ResponseReturnValue:
    """Have the configured folder packed; visitors do not choose which one."""
    folder = Path(current_app.config["BACKUP_FOLDER"]).absolute().name
    return accepted(ordered(tasks.back_up, kind="backup", title=f"Backup of {folder}/"))


@site.get("/files/<uuid:task_id>/<name>")
def download(task_id: uuid.UUID, name: str) -> Response:
    """Send a file a task made; only what belongs to a job of this site, and never from outside the task's folder."""
    if db.session.get(Job, str(task_id)) is None:
        abort(404)
    return send_from_directory(produced_by(str(task_id)), name, as_attachment="save" in request.args)


def order(
    task: Task[..., tasks.Done], *arguments: object, kind: str, title: str, countdown: float | None = None
) -> Job:
    """Send a task and note the job, both in the session's transaction: neither exists before the caller commits."""
    result = task.apply_async(arguments, countdown=countdown, connection=db.session)
    due = now() + timedelta(seconds=countdown) if countdown else None
    job = Job(id=result.id, kind=kind, title=title, due=due)
    db.session.add(job)
    return job


def ordered(task: Task[..., tasks.Done], *arguments: object, kind: str, title: str) -> Job:
    """Send a task, note the job and commit both."""
    job = order(task, *arguments, kind=kind, title=title)
    db.session.commit()
    return job


def accepted(*jobs: Job) -> ResponseReturnValue:
    """Answer a script with the jobs' ids, a plain form with the page."""
    if wants_json():
        return jsonify(jobs=[job.id for job in jobs]), 202
    return redirect(url_for("site.page"), 303)


def name_of(form: MultiDict[str, str]) -> str:
    """Return the name from the form, or answer 400."""
    name = " ".join(form.get("name", "").split())
    if not 1 <= len(name) <= 80 or not name.isprintable():
        abort(400, "Please tell us a name of at most 80 letters.")
    return name


def email_of(form: MultiDict[str, str]) -> str:
    """Return the e-mail address from the form, or answer 400."""
    email = form.get("email", "").strip().lower()
    try:
        Address(addr_spec=email)
    except (ValueError, IndexError, MessageError):
        abort(400, "This does not look like an e-mail address.")
    if len(email) > 254 or not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", email, re.ASCII) or not email.isascii():
        abort(400, "This does not look like an e-mail address.")
    return email


def store(upload: FileStorage | None) -> tuple[str, str]:
    """Keep an upload under a name of our own; return that, and the visitor's name for it made harmless."""
    if upload is None or not upload.filename:
        abort(400, "Please choose a photograph.")
    name = uuid.uuid4().hex
    path = uploads() / name
    upload.save(path)
    try:
        photographs.check(path)
    except photographs.NotAPhotograph as refusal:
        path.unlink()
        abort(400, str(refusal))
    return name, secure_filename(upload.filename)[-80:] or "photograph"


@site.before_request
def refuse_foreign_forms() -> None:
    """Let no page of another site send our forms through a visitor's browser."""
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin and urlsplit(origin).netloc != request.host:
        abort(403, "This form was sent by another site.")


@site.after_request
def harden(response: Response) -> Response:
    """Allow the page nothing but what the site itself serves."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


@site.app_errorhandler(HTTPException)
def say(error: HTTPException) -> ResponseReturnValue:
    """Answer errors in the caller's language: JSON to a script, a page to people."""
    code = error.code or 500
    if wants_json():
        return jsonify(error=error.description), code
    return render_template("error.html", error=error), code


def wants_json() -> bool:
    """Say whether the caller would rather read JSON than HTML."""
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"
