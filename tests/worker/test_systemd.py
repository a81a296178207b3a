"""What systemd hears of a worker, through a socket of the kind it listens on."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from lavoro.worker.supervisor.systemd import Systemd
from tests.worker.conftest import PATIENCE, StartWorker


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that is listened on, and its name as systemd writes it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@lavoro-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(PATIENCE)
        try:
            listening.bind("\0" + name[1:] if name.startswith("@") else name)
        except OSError:
            pytest.skip("no abstract sockets on this system")
        yield listening, name


def test_a_worker_tells_of_itself(
    start_worker: StartWorker, migrated_url: str, manager: tuple[socket.socket, str]
) -> None:
    """Ready, alive as long as it works, stopping; its processes do not inherit the socket."""
    listening, name = manager
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"}
    worker = start_worker("-c", "2", url=migrated_url, environment=environment)

    def heard_until(word: str) -> list[str]:
        heard: list[str] = []
        while not heard or word not in heard[-1].splitlines():
            heard.append(listening.recv(4096).decode())
        return heard

    assert "STATUS=" in heard_until("READY=1")[-1]
    assert {"NOTIFY_SOCKET", "WATCHDOG_USEC"}.isdisjoint(worker.children[0].environ())
    assert heard_until("WATCHDOG=1")
    assert heard_until("WATCHDOG=1")
    assert worker.stop() == 0
    assert "SIGTERM" in heard_until("STOPPING=1")[-1]


@pytest.mark.parametrize(
    ("environment", "heard"),
    [
        ({"WATCHDOG_USEC": "20000000"}, ["WATCHDOG=1", "WATCHDOG=1"]),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(os.getpid())}, ["WATCHDOG=1", "WATCHDOG=1"]),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, []),
        ({}, []),
    ],
)
def test_watchdog(
    environment: dict[str, str], heard: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in its time, and only for whom it is meant."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        for name, value in {"NOTIFY_SOCKET": str(tmp_path / "notify"), **environment}.items():
            monkeypatch.setenv(name, value)
        systemd = Systemd()
        for now in (0.0, 1.0, 9.0, 10.5, 19.0):
            systemd.watch(now)
        systemd.tell("END")
        for expected in [*heard, "END"]:
            assert listening.recv(4096).decode() == expected


def test_without_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens, or nobody wants to: it goes on."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Systemd().tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nowhere"))
    Systemd().tell("READY=1")
