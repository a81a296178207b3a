"""The wire between the supervisor and a child: one JSON object a line, both ways, over a socket pair."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any


class Pipe:
    """One end of the wire. Sending is safe from any thread; a closed other end is not an error but the end."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._lock = threading.Lock()
        self._buffer = b""

    @classmethod
    def pair(cls) -> tuple[Pipe, socket.socket]:
        """Return the supervisor's end, and the socket that the child inherits."""
        ours, theirs = socket.socketpair()
        return cls(ours), theirs

    def fileno(self) -> int:
        """The descriptor, for ``select``."""
        return self.socket.fileno()

    def send(self, kind: str, **fields: Any) -> bool:
        """Send a message; False if the other end is gone."""
        line = json.dumps({"kind": kind, **fields}, default=str).encode() + b"\n"
        try:
            with self._lock:
                self.socket.sendall(line)
        except OSError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait for data and return the complete messages in it; None when the other end is gone."""
        try:
            data = self.socket.recv(65_536)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield messages until the other end is gone."""
        while (received := self.receive()) is not None:
            yield from received

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
