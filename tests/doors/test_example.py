"""The Flask example: its four jobs done by a real worker, and what it refuses."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from examples.flask_app import create_app
from examples.flask_app.housekeeping.tasks import clean_up
from examples.flask_app.mail import Mailbox, serve
from examples.flask_app.models import Digest, Job, User, db, now
from examples.flask_app.photographs import SIZES
from tests import copies
from tests.conftest import Eventually
from tests.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
JSON = {"Accept": "application/json"}
ADA = {"name": "Ada Lovelace", "email": "ada@example.org"}


@pytest.fixture
def mailbox(tmp_path: Path) -> Mailbox:
    """A mailbox that puts every address off once."""
    return Mailbox(tmp_path / "mailbox", refusals=1)


@pytest.fixture
def smtp_port(mailbox: Mailbox) -> Iterator[int]:
    """The port of a mail server for the mailbox."""
    controller = serve(mailbox, port := free_port())
    yield port
    controller.stop()


@pytest.fixture
def backed_up(tmp_path: Path) -> Path:
    """A folder to back up, with a secret and a link that must stay out."""
    folder = tmp_path / "papers"
    (folder / "letters").mkdir(parents=True)
    (folder / "letters" / "one.txt").write_text("Dear Charles\n" * 1000)
    (folder / ".secret").write_text("sesame")
    (folder / "link").symlink_to("/etc/passwd")
    return folder


@pytest.fixture
def settings(tmp_path: Path, backed_up: Path, smtp_port: int) -> dict[str, Any]:
    """The settings that the site and its worker share."""
    folders = {"DATA_FOLDER": str(tmp_path / "data"), "BACKUP_FOLDER": str(backed_up)}
    return {**folders, "SMTP_PORT": smtp_port, "REMINDER_SECONDS": 0.5}


@pytest.fixture
def client(settings: dict[str, Any], migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """A browser, so to say, on the site; no worker runs yet."""
    monkeypatch.setenv("LAVORO_DATABASE_URL", migrated_url)  # the worker inherits it
    flask_app = create_app(settings)
    with flask_app.app_context():
        db.create_all()
    with flask_app.test_client() as client:
        yield client
    with flask_app.app_context():
        db.engine.dispose()
    flask_app.extensions["lavoro"].close()


@pytest.fixture
def worker(settings: dict[str, Any], client: FlaskClient, tmp_path: Path) -> Iterator[None]:
    """A worker of the site, as a process of its own."""
    environment = {**os.environ, **{f"EXAMPLE_{key}": str(value) for key, value in settings.items()}}
    command = ["lavoro", "worker", "-A", "examples.flask_app.app", "-P", "threads", "-c", "2"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = copies.start(*command, environment=environment, folder=ROOT, output=log)
    yield
    process.terminate()
    assert process.wait(30) == 0, (tmp_path / "worker.log").read_text()


def jpeg(width: int = 900, height: int = 600) -> bytes:
    """A picture with a place in its notes and a turn to the left."""
    notes = Image.Exif()
    notes[0x0112], notes[0x8825] = 6, {1: "N", 2: (51.0, 30.0, 0.0)}
    file = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(file, "JPEG", exif=notes)
    return file.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A small PNG that claims to be large."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\x00\x00\x00"
    end = b"\x00\x00\x00\x00IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0d" + header + zlib.crc32(header).to_bytes(4, "big") + end


def bring(client: FlaskClient, content: bytes, name: str = "at the sea.jpg") -> TestResponse:
    """Upload a photograph."""
    return client.post("/photographs", data={"photograph": (io.BytesIO(content), name)}, headers=JSON)


def jobs(client: FlaskClient) -> dict[str, dict[str, Any]]:
    """What the site says about its jobs, by kind."""
    answer = client.get("/status.json")
    assert answer.status_code == 200
    return {job["kind"]: job for job in answer.get_json()["jobs"]}


def fetch(client: FlaskClient, job: dict[str, Any]) -> dict[str, bytes]:
    """A job's files by name."""
    contents = {}
    for file in job["files"]:
        with client.get(file["url"]) as answer:
            contents[file["name"]] = answer.data
    return contents


def stored(client: FlaskClient) -> tuple[int, int, int]:
    """How many users, jobs and tasks there are."""
    with client.application.app_context():
        tasks = db.session.scalar(text("SELECT count(*) FROM lavoro.waiting"))
        users, orders = (db.session.scalar(select(func.count()).select_from(table)) for table in (User, Job))
    return users or 0, orders or 0, tasks


@pytest.mark.usefixtures("worker")
def test_a_worker_does_all_four_jobs(client: FlaskClient, mailbox: Mailbox, eventually: Eventually) -> None:
    assert client.post("/sign-up", data=ADA, headers=JSON).status_code == 202
    assert bring(client, jpeg()).status_code == 202
    assert client.post("/backups", headers=JSON).status_code == 202
    assert client.post("/reports", headers=JSON).status_code == 202

    def finished() -> dict[str, dict[str, Any]]:
        known = jobs(client)
        assert not [job for job in known.values() if job["tone"] == "failed"]
        return known if all(job["tone"] == "done" for job in known.values()) else {}

    done = eventually(finished, timeout=60, why="all five tasks are done")

    assert sorted(done) == ["backup", "photo", "reminder", "report", "welcome"]
    assert {letter["Subject"] for letter in mailbox.letters()} == {"Welcome to the Darkroom", "Your first photograph"}
    assert len(mailbox.letters()) == 2
    assert done["welcome"]["attempts"] + done["reminder"]["attempts"] == 3, "the address was put off once"
    check_photograph(fetch(client, done["photo"]))
    assert fetch(client, done["report"])["report.pdf"].startswith(b"%PDF-")
    with tarfile.open(fileobj=io.BytesIO(fetch(client, done["backup"])["papers.tar.gz"])) as archive:
        assert archive.getnames() == ["papers/letters/one.txt"]


def check_photograph(files: dict[str, bytes]) -> None:
    """All sizes are there, upright and without notes."""
    assert len(files) == len(SIZES)
    for name, content in files.items():
        with Image.open(io.BytesIO(content)) as image:
            assert not image.getexif(), name
            assert image.height >= image.width, name


def test_a_sign_up_is_one_transaction(client: FlaskClient) -> None:
    assert client.post("/sign-up", data=ADA, headers=JSON).status_code == 202
    assert stored(client) == (1, 2, 2)

    answer = client.post("/sign-up", data={**ADA, "name": "Someone else"}, headers=JSON)

    assert (answer.status_code, answer.get_json()) == (409, {"error": "This address has signed up before."})
    assert stored(client) == (1, 2, 2)


def test_an_order_waits_until_a_worker_comes(client: FlaskClient) -> None:
    answer = client.post("/reports")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert (jobs(client)["report"]["state"], jobs(client)["report"]["tone"]) == ("PENDING", "waiting")


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "email": "ada@example.org"},
        {"name": "x" * 81, "email": "ada@example.org"},
        {"name": "Ada", "email": "nobody"},
        {"name": "Ada", "email": "ada@example.org\r\nBcc: all@example.org"},
        {"name": "Ada", "email": "ada@exämple.org"},
    ],
)
def test_a_bad_sign_up_is_refused(client: FlaskClient, form: dict[str, str]) -> None:
    assert client.post("/sign-up", data=form, headers=JSON).status_code == 400
    assert stored(client) == (0, 0, 0)


@pytest.mark.parametrize(
    "content", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", jpeg()[:40], claiming(9000, 9000)]
)
def test_what_is_no_photograph_is_refused(client: FlaskClient, settings: dict[str, Any], content: bytes) -> None:
    assert bring(client, content).status_code == 400
    assert not list(Path(settings["DATA_FOLDER"], "uploads").iterdir())
    assert stored(client) == (0, 0, 0)


def test_an_upload_has_a_limit(client: FlaskClient) -> None:
    form = bytes(17 * 1024 * 1024)
    answer = client.post("/photographs", data=form, content_type="multipart/form-data; boundary=x", headers=JSON)
    assert answer.status_code == 413


def test_a_photograph_without_a_usable_name_gets_one(client: FlaskClient) -> None:
    assert bring(client, jpeg(), "../../").status_code == 202
    assert jobs(client)["photo"]["title"] == "photograph"


def test_downloads_stay_in_the_folder_of_their_job(client: FlaskClient, settings: dict[str, Any]) -> None:
    task_id = client.post("/reports", headers=JSON).get_json()["jobs"][0]
    Path(settings["DATA_FOLDER"], "produced").mkdir(parents=True)
    Path(settings["DATA_FOLDER"], "produced", "secret.txt").write_text("sesame")

    for name in ("../secret.txt", "..%2fsecret.txt", "%2e%2e/secret.txt", "%2fetc%2fpasswd", "report.pdf"):
        assert client.get(f"/files/{task_id}/{name}").status_code == 404, name
    assert client.get("/files/00000000-0000-0000-0000-000000000000/report.pdf").status_code == 404


def test_another_site_cannot_send_our_forms(client: FlaskClient) -> None:
    assert client.post("/reports", headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert client.post("/reports", headers={"Origin": "http://localhost"}).status_code == 303


def test_the_page_allows_nothing_foreign(client: FlaskClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "http://" not in answer.text.replace("http://www.w3.org", "")
    assert "https://" not in answer.text


@pytest.mark.usefixtures("worker")
def test_the_page_shows_what_the_site_does_by_itself(client: FlaskClient, eventually: Eventually) -> None:
    """The worker finds the package; a run by hand is one of the same task."""

    def told() -> dict[str, dict[str, Any]]:
        return {each["name"]: each for each in client.get("/status.json").get_json()["schedules"]}

    eventually(lambda: set(told()) == {"digest", "clean-up"} and all(each["next"] for each in told().values()))
    assert (told()["digest"]["timing"], told()["clean-up"]["timing"]) == ("*/5 * * * *", "30 3 * * *")
    lavoro = client.application.extensions["lavoro"]
    with client.application.app_context():
        number = lavoro.schedules.run("digest").get(timeout=30)
        cleaned = lavoro.schedules.run("clean-up").get(timeout=30)
        assert db.session.get_one(Digest, number).people == 0
    assert cleaned == {"jobs": 0, "paths": 0}
    assert client.get("/status.json").get_json()["digest"]["jobs"] == 0


def test_the_clean_up_deletes_what_is_older_than_a_day(client: FlaskClient, settings: dict[str, Any]) -> None:
    uploads = Path(settings["DATA_FOLDER"]) / "uploads"
    uploads.mkdir(parents=True)
    for name, days in (("old", 2), ("new", 0)):
        (uploads / name).touch()
        moment = (now() - timedelta(days=days)).timestamp()
        os.utime(uploads / name, (moment, moment))
    with client.application.app_context():
        db.session.add(Job(id="1", kind="report", title="old", created=now() - timedelta(days=2)))
        db.session.add(Job(id="2", kind="report", title="new"))
        db.session.commit()
        assert clean_up() == {"jobs": 1, "paths": 1}
        assert [job.id for job in db.session.scalars(select(Job))] == ["2"]
    assert [path.name for path in uploads.iterdir()] == ["new"]
