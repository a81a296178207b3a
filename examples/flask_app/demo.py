"""Runs the whole example once, through HTTP, and says what was done: ``python -m examples.flask_app.demo``."""

from __future__ import annotations

import fcntl
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from flask import Flask
from PIL import Image, ImageChops, ImageDraw, ImageFilter
from rich import box
from rich.console import Console
from rich.table import Table

from . import create_app
from .mail import Mailbox, free_port, serve
from .models import db

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0
REFUSALS = 2
REMINDER_SECONDS = 4

console = Console()


class DemoFailed(Exception):
    """Something was not as it should be; the message says what, in one line."""


class Refused(DemoFailed):
    """The site answered a request with an error."""

    def __init__(self, request: Request, error: HTTPError) -> None:
        self.code = error.code
        super().__init__(f"{request.get_method()} {request.selector} was answered with {error.code} {error.reason}")


@dataclass
class Site:
    """The site as its visitors reach it."""

    address: str
    processes: list[Process] = field(default_factory=list)

    def get(self, path: str) -> bytes:
        """Fetch a path."""
        return self.ask(Request(self.address + path))

    def status(self) -> dict[str, dict[str, Any]]:
        """Return what the site knows of its jobs, by id."""
        return {job["id"]: job for job in json.loads(self.get("/status.json"))["jobs"]}

    def post(self, path: str, fields: Mapping[str, str] | None = None) -> list[str]:
        """Send a form and return the ids of the jobs it started."""
        return self.order(Request(self.address + path, urlencode(fields or {}).encode()))

    def post_file(self, path: str, name: str, filename: str, content: bytes) -> list[str]:
        """Send a form with one file and return the ids of the jobs it started."""
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        return self.order(Request(self.address + path, body, {"Content-Type": f"multipart/form-data; boundary={mark}"}))

    def order(self, request: Request) -> list[str]:
        """Send an order."""
        request.add_header("Accept", "application/json")
        jobs: list[str] = json.loads(self.ask(request))["jobs"]
        return jobs

    def ask(self, request: Request) -> bytes:
        """Send a request and return what is answered; raises Refused, or DemoFailed if nothing is."""
        try:
            with urlopen(request, timeout=30) as answer:
                content: bytes = answer.read()
                return content
        except HTTPError as error:
            raise Refused(request, error) from error
        except (URLError, OSError) as error:
            raise DemoFailed(f"{self.address} does not answer: {error}") from error

    def answers(self) -> bool:
        """Say whether the site is up."""
        try:
            self.get("/")
        except DemoFailed:
            return False
        return True

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a condition; raises DemoFailed if a process ends or the deadline passes before."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            for process in self.processes:
                process.must_run()
            if time.monotonic() > deadline:
                raise DemoFailed(f"{what}: not within {DEADLINE:g} seconds")
            time.sleep(0.1)

    def finish(self, ids: Sequence[str], what: str) -> None:
        """Wait until the jobs are over; raises DemoFailed when one of them failed."""

        def over() -> bool:
            jobs = self.status()
            for job in (jobs[id] for id in ids):
                if job["tone"] == "failed":
                    raise DemoFailed(f"{job['title']} failed: {job.get('note')}")
            return all(jobs[id]["tone"] == "done" for id in ids)

        self.until(over, what)


@dataclass
class Process:
    """A process of the demo's own, with its log."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def must_run(self) -> None:
        """Raise DemoFailed if the process has ended."""
        if (code := self.popen.poll()) is not None:
            last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
            raise DemoFailed(f"The {self.name} ended with {code}: {last[0]} (log: {self.log})")

    def stop(self) -> None:
        """End the process: politely first, with everything it started after 20 seconds."""
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


def main() -> int:
    """Run the demo and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # A database of the demo's own: its worker would not know the tasks of yours.
    os.environ.setdefault("LAVORO_DATA_DIR", str(folder() / "database"))
    try:
        with ExitStack() as stack:
            stack.enter_context(alone())
            run(stack)
    except DemoFailed as failure:
        console.print(f"Demo failed: {failure}", style="bold red", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 0 if os.environ.get("KEEP") else 1
    return 0


@contextmanager
def alone() -> Iterator[None]:
    """Let no second demo use the same folder: its worker would take the first one's tasks."""
    with (folder() / "demo.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DemoFailed(f"Another demo is running in {folder()}; end it, or set EXAMPLE_DATA_FOLDER") from None
        yield


def run(stack: ExitStack) -> None:
    """Start everything, order everything, wait, check and tell; the stack ends what was started."""
    began = time.monotonic()
    site, mailbox = start(stack)
    say(f"The site is open at {site.address} ({time.monotonic() - began:.1f} s)")
    address = f"ada-{uuid.uuid4().hex[:5]}@example.org"
    ids = visit(site, address)
    files = check_files(site, ids)
    check_letters(site, mailbox, ids, address)
    console.print(summary(site, ids, files))
    say(f"All of it took {time.monotonic() - began:.1f} s. Files and logs: {folder()}")
    keep(site)


def start(stack: ExitStack) -> tuple[Site, Mailbox]:
    """Start the database, the mail server, the site and a worker; what is needed first is started first."""
    with console.status("Starting PostgreSQL, a mail server, the site and a worker"):
        flask_app = prepared_database()
        mailbox, smtp_port = Mailbox(folder() / "mailbox", refusals=REFUSALS), free_port()
        stack.callback(serve(mailbox, smtp_port).stop)
        environment = {
            **os.environ,
            "LAVORO_DATABASE_URL": flask_app.extensions["lavoro"].database_url,
            "EXAMPLE_DATA_FOLDER": str(folder()),
            "EXAMPLE_SMTP_PORT": str(smtp_port),
            "EXAMPLE_REMINDER_SECONDS": str(REMINDER_SECONDS),
        }
        port = free_port()
        site = Site(f"http://127.0.0.1:{port}")
        worker = ["lavoro", "worker", "-A", "examples.flask_app.app", "-P", "threads", "-c", "4", "-l", "info"]
        web = ["flask", "--app", "examples.flask_app", "run", "--port", str(port)]
        for name, command in {"worker": worker, "web server": web}.items():
            site.processes.append(stack.enter_context(process(name, command, environment)))
        site.until(site.answers, "The site opens")
    return site, mailbox


def prepared_database() -> Flask:
    """Return the site with its database ready: Lavoro's tables and its own."""
    flask_app = create_app({"DATA_FOLDER": str(folder())})
    environment = {**os.environ, "LAVORO_DATABASE_URL": flask_app.extensions["lavoro"].database_url}
    command = [sys.executable, "-m", "lavoro", "migrate", "-A", "examples.flask_app.app"]
    migration = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
    if migration.returncode:
        last = (migration.stderr or migration.stdout).strip().splitlines()[-1:] or ["no output"]
        raise DemoFailed(f"lavoro migrate ended with {migration.returncode}: {last[0]}")
    with flask_app.app_context():
        db.create_all()
    return flask_app


@contextmanager
def process(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Process]:
    """Run a Python module as a process of its own, which is ended with everything it started."""
    log = folder() / f"{name.replace(' ', '-')}.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends its processes in order
        )
    started = Process(name, popen, log)
    try:
        yield started
    finally:
        started.stop()


def visit(site: Site, address: str) -> list[str]:
    """Do what visitors do: sign up, sign up again by mistake, bring a photograph, ask for backup and report."""
    with console.status("A visitor signs up, brings a photograph and wants a backup") as line:
        ids = site.post("/sign-up", {"name": "Ada", "email": address})
        refuse_second_sign_up(site, address)
        ids += site.post_file("/photographs", "photograph", "dusk at sea.jpg", photograph())
        ids += site.post("/backups")
        line.update("The worker is at it; the mail server refuses at first")
        site.finish(ids[2:], "Photograph and backup")
        ids += site.post("/reports")
        site.finish(ids, "All jobs")
    return ids


def refuse_second_sign_up(site: Site, address: str) -> None:
    """See that a sign-up which is rolled back leaves no task behind."""
    before = site.status()
    try:
        site.post("/sign-up", {"name": "Ada again", "email": address})
    except Refused as refusal:
        if refusal.code == 409 and site.status().keys() == before.keys():
            return
    raise DemoFailed("A second sign-up with the same address was not refused cleanly")


def photograph() -> bytes:
    """Make a picture that is as much work as a photograph: 3000 x 2000 pixels of dusk over water, with grain."""
    width, height = 3000, 2000
    sky = Image.composite(
        Image.new("RGB", (width, height), "#f2a65e"),
        Image.new("RGB", (width, height), "#20264d"),
        Image.linear_gradient("L").resize((width, height)),
    )
    draw = ImageDraw.Draw(sky)
    draw.ellipse((1880, 900, 2240, 1260), fill="#ffe3a3")
    for ridge, colour in ((1180, "#5a4a6b"), (1270, "#3b3556")):
        draw.polygon([(0, height), *hills(width, ridge), (width, height)], fill=colour)
    water = sky.crop((0, 700, width, 1400)).transpose(Image.Transpose.FLIP_TOP_BOTTOM).filter(ImageFilter.BoxBlur(9))
    sky.paste(water.resize((width, 640)), (0, 1360))
    grain = Image.effect_noise((width, height), 22).convert("RGB")
    file = io.BytesIO()
    ImageChops.overlay(sky, grain).save(file, "JPEG", quality=92)
    return file.getvalue()


def hills(width: int, ridge: int) -> list[tuple[int, int]]:
    """Return the outline of a chain of hills, the same in every run."""
    chance, height = random.Random(ridge), float(ridge)
    outline = []
    for x in range(0, width + 60, 60):
        height += chance.uniform(-26, 26) + (ridge - height) * 0.08
        outline.append((x, int(height)))
    return outline


def check_files(site: Site, ids: Sequence[str]) -> dict[str, int]:
    """Download every produced file, open it with what it is for, and return the bytes by address."""
    openers: dict[str, Callable[[bytes], object]] = {
        ".webp": open_image, ".jpg": open_image, ".pdf": open_pdf, ".gz": open_archive,
    }  # fmt: skip
    sizes = {}
    for file in (file for id in ids for file in site.status()[id]["files"]):
        content = site.get(file["url"])
        try:
            openers[Path(file["name"]).suffix](content)
        except (OSError, tarfile.TarError, ValueError) as error:
            raise DemoFailed(f"{file['name']} cannot be opened: {error}") from error
        if len(content) != file["bytes"]:
            raise DemoFailed(f"{file['name']} has {len(content)} bytes, the task said {file['bytes']}")
        sizes[file["url"]] = len(content)
    return sizes


def open_image(content: bytes) -> None:
    """Decode an image wholly."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()


def open_pdf(content: bytes) -> None:
    """Look at both ends of a PDF."""
    if not content.startswith(b"%PDF-") or b"%%EOF" not in content[-32:]:
        raise ValueError("not a whole PDF")


def open_archive(content: bytes) -> None:
    """Unpack an archive in memory."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            if unpacked := archive.extractfile(member):
                unpacked.read()


def check_letters(site: Site, mailbox: Mailbox, ids: Sequence[str], address: str) -> None:
    """See that both letters arrived once, and that the mail server's refusals were survived."""
    mine = [letter["Subject"] for letter in mailbox.letters() if address in letter["To"]]
    if sorted(mine) != ["Welcome to the Darkroom", "Your first photograph"]:
        raise DemoFailed(f"The mail server caught {mine} for {address}, expected one welcome and one reminder")
    jobs = site.status()
    retried = sum(jobs[id]["attempts"] - 1 for id in ids[:2])
    if retried != REFUSALS:
        raise DemoFailed(f"The mail server refused {REFUSALS} times, the letters were retried {retried} times")


def summary(site: Site, ids: Sequence[str], files: Mapping[str, int]) -> Table:
    """Return the table of what was done."""
    table = Table("Job", "Made", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    for column in ("Size", "Starts", "Work", "In all"):
        table.add_column(column, justify="right", no_wrap=True)
    jobs = site.status()
    for job in (jobs[id] for id in ids):
        took = [str(job["attempts"]), f"{job['seconds']:.2f} s", f"{job['finished'] - job['created']:.1f} s"]
        table.add_row(job["title"], job["note"], kilobytes(job["bytes"]), *took, style="bold")
        for file in job["files"]:
            table.add_row(f"  {file['name']}", file["detail"], kilobytes(files[file["url"]]), style="dim")
    return table


def kilobytes(size: int) -> str:
    """Return a number of bytes as the table shows it."""
    return f"{size / 1000:,.1f} kB"


def keep(site: Site) -> None:
    """Say where the page is, and leave it there until Ctrl-C if KEEP=1 asks for it."""
    if os.environ.get("KEEP", "") in ("", "0"):
        say(f"The page was at {site.address}; `make demo KEEP=1` leaves it running.")
        return
    say(f"The page is at {site.address}; Ctrl-C ends everything.")
    while True:
        threading.Event().wait(1)
        for process in site.processes:
            process.must_run()


def folder() -> Path:
    """Return where the demo keeps its files."""
    path = Path(os.environ.get("EXAMPLE_DATA_FOLDER") or Path(__file__).parent / "instance" / "demo").absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(line: str) -> None:
    """Print a line for people."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
