"""`lavoro events` writes a line for each event, and lets cameras look at the state."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lavoro import Lavoro
from lavoro.cli import run_for
from lavoro.store import workers
from lavoro.store.workers import Registration

CAMERA = """
from lavoro.events.snapshot import Polaroid

class Camera(Polaroid):
    def on_shutter(self, state):
        print("workers:", ", ".join(sorted(state.workers)), flush=True)
"""


@pytest.fixture
def shop(migrated_url: str, root: logging.Logger) -> Iterator[Lavoro]:
    """An application with a live worker."""
    app = Lavoro("shop", broker=migrated_url, set_as_current=False, task_send_sent_event=True)
    with app.database.tx() as tx:
        workers.register(tx, Registration("one@here", 0, "here", 4711, "solo", 1, ["celery"], "0.1.0", 3600.0))
    yield app
    app.close()


def test_lines(shop: Lavoro, capsys: Any) -> None:
    assert run_for(shop, ["events", "--limit", "1"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("one@here [20")
    assert "] started: active=0, clock=1, freq=2.0, " in said.out
    assert said.err == "-> evdump: starting capture...\n"
    assert run_for(shop, ["events", "--dump", "--limit", "2", "--json", "-q"]) == 0
    said = capsys.readouterr()
    first, second = map(json.loads, said.out.splitlines())
    assert (first["type"], second["type"]) == ("worker-online", "worker-heartbeat")
    assert first["clock"] < second["clock"]
    assert said.err == ""


def test_an_end_after_a_time_without_events(shop: Lavoro, capsys: Any) -> None:
    assert run_for(shop, ["events", "--timeout", "0.5"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_wrong_options(shop: Lavoro, capsys: Any) -> None:
    for words, message in (
        (["--maxrate", "often"], "'often' is no rate: write it as 10/s, 100/m or 500/h"),
        (["--detach"], "leave the background to systemd"),
        (["--camera", "nowhere:Camera"], "nowhere"),
    ):
        assert run_for(shop, ["events", *words]) != 0
        assert message in capsys.readouterr().err


def test_a_camera(shop: Lavoro, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures.py").write_text(CAMERA)
    monkeypatch.syspath_prepend(tmp_path)
    assert run_for(shop, ["events", "--camera", "pictures:Camera", "--freq", "0.2", "-q", "--limit", "3"]) == 0
    assert "workers: one@here" in capsys.readouterr().out
