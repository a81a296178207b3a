"""A machine without libpq is told in one line, at the command line and at an import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HIDING = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("psycopg_c", "psycopg_binary") or name == "psycopg.pq.pq_ctypes":
            raise ImportError(f"no {name}")

sys.meta_path.insert(0, Hide())
"""


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    (folder / "sitecustomize.py").write_text(HIDING)
    (folder / "tasks.py").write_text("from lavoro import Lavoro\n\napp = Lavoro('tasks')\n")
    env = {**os.environ, "PYTHONPATH": str(folder), "LAVORO_DATABASE_URL": "postgresql://localhost/none"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_command_line_names_the_extra(tmp_path: Path) -> None:
    ended = run(tmp_path, "-m", "lavoro", "worker", "-A", "tasks")
    assert ended.returncode == 1
    assert "install 'lavoro[binary]'" in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_an_import_names_the_extra(tmp_path: Path) -> None:
    ended = run(tmp_path, "-c", "import lavoro; lavoro.Lavoro")
    assert "DriverNotFound: psycopg finds no libpq" in ended.stderr.strip().splitlines()[-1]
