"""A mail server that catches letters, after putting off each new address: ``python -m examples.flask_app.mail``."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

REFUSAL = "451 4.7.1 Greylisted, please try again later"


class Mailbox:
    """Keeps what arrives as .eml files in a folder; each new address is put off with a 451 ``refusals`` times first.

    This is what greylisting does, the commonest reason why a letter to a new address does not go through at once.
    """

    def __init__(self, folder: Path, *, refusals: int = 2) -> None:
        self.folder = folder
        self.refusals = refusals
        self.refused: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Answer one delivery."""
        address = envelope.rcpt_tos[0]
        if self.refused[address] < self.refusals:
            self.refused[address] += 1
            return REFUSAL
        name = f"{len(self.files()) + 1:04}.eml"
        (self.folder / name).write_bytes(cast(bytes, envelope.content))
        return "250 2.0.0 Caught"

    def files(self) -> list[Path]:
        """List the caught letters' files, oldest first."""
        return sorted(self.folder.glob("*.eml"))

    def letters(self) -> list[EmailMessage]:
        """Read the caught letters, oldest first."""
        return [message_from_bytes(path.read_bytes(), policy=default) for path in self.files()]


def free_port() -> int:
    """Return a TCP port nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return cast(int, listener.getsockname()[1])


def serve(mailbox: Mailbox, port: int) -> Controller:
    """Start a mail server for the mailbox in a thread of its own; the caller stops it with ``.stop()``."""
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    return controller


def main() -> None:
    """Serve on port 8025 until interrupted."""
    mailbox = Mailbox(Path(__file__).parent / "instance" / "mailbox")
    controller = serve(mailbox, 8025)
    print(f"Catching mail on 127.0.0.1:8025 into {mailbox.folder}; stop with Ctrl-C")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        controller.stop()


if __name__ == "__main__":
    main()
