"""Makes the peers' virtual environments, `python -m benchmarks.peers.install [PEER ...]`; kept until they change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.catalogue import PEERS, Peer
from benchmarks.stage.processes import ROOT
from benchmarks.values import Skipped

FOLDER = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).parent / "requirements"


def environment_of(peer: Peer) -> Path:
    """Return the folder with the peer's programs, installed as pinned; raises ``Skipped`` if that fails."""
    pins = REQUIREMENTS / f"{peer.requirements}.txt"
    folder = FOLDER / peer.requirements
    stamp = folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        _install(folder, pins)
        stamp.write_text(pins.read_text())
    return folder / "bin"


def _install(folder: Path, pins: Path) -> None:
    """Install exactly what the file lists, without resolving anything."""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], [*pip, "--no-deps", "-r", str(pins)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise Skipped(f"{pins.stem} could not be installed: {reason}")


def main(names: list[str]) -> None:
    """Install the peers of these names, or all."""
    for name in names or PEERS:
        try:
            print(f"{name}: {environment_of(PEERS[name])}")
        except Skipped as reason:
            print(f"{name}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
