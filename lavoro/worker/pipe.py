"""The pipe between the supervisor and a child: one JSON object a line, both ways, over a socket pair."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]
FINAL_READS = 64
"""Reads of at most 64 KiB each: more than the kernel keeps for a process that is gone."""


class Pipe:
    """One end of the pipe. Sending is safe from any thread; a closed other end is no error: ``send`` returns False.

    The supervisor's end never waits: a child whose loop is blocked reads nothing, and must not block its supervisor.
    A message that does not fit now is kept for ``flush``.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._lock = threading.Lock()
        self._incoming = b""
        self._outgoing = b""

    @classmethod
    def pair(cls) -> tuple[Pipe, socket.socket]:
        """Return the supervisor's end, and the socket that the child inherits."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        return cls(ours), theirs

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self.socket.fileno()

    def send(self, kind: str, **fields: Any) -> bool:
        """Send a message; False if the other end is gone."""
        with self._lock:
            self._outgoing += _line(kind, fields)
            return self._push()

    def try_send(self, kind: str, **fields: Any) -> None:
        """Send a message unless earlier ones still wait; such a child is busy, and polls by itself later."""
        with self._lock:
            if not self._outgoing:
                self._outgoing = _line(kind, fields)
                self._push()

    def flush(self) -> bool:
        """Send what was kept; False if the other end is gone."""
        with self._lock:
            return self._push()

    def _push(self) -> bool:
        try:
            while self._outgoing:
                self._outgoing = self._outgoing[self.socket.send(self._outgoing) :]
        except BlockingIOError:
            return True
        except OSError:
            self._outgoing = b""
            return False
        return True

    def receive(self) -> list[Message] | None:
        """Return the complete messages that have arrived, None when the other end is gone."""
        try:
            data = self.socket.recv(65_536)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        try:
            return [json.loads(line) for line in lines]
        except ValueError:  # a task has written to a descriptor that is not its own
            return None

    def final_messages(self) -> list[Message]:
        """Return the messages that have arrived, once the other process is gone.

        Processes that a task has forked may hold its end of the pipe. So this does not wait for the pipe to close, and
        reads what they write at most ``FINAL_READS`` times.
        """
        messages: list[Message] = []
        for _ in range(FINAL_READS):
            received = self.receive()
            if not received:
                break
            messages += received
        return messages

    def has(self, kind: str) -> bool:
        """Whether a message of that kind waits to be read, or the other end is gone; both stay to be read."""
        if not select.select([self.socket], [], [], 0)[0]:
            return False
        data = self.socket.recv(65_536, socket.MSG_PEEK)
        return not data or f'{{"kind": "{kind}"'.encode() in data

    def messages(self) -> Iterator[Message]:
        """Yield messages until the other end is gone."""
        while (received := self.receive()) is not None:
            yield from received

    def close(self) -> None:
        """Close this end."""
        with self._lock:  # not while another thread sends: the system may reuse the descriptor's number at once
            self.socket.close()


_encode = json.JSONEncoder(default=str).encode


def _line(kind: str, fields: Message) -> bytes:
    return _encode({"kind": kind, **fields}).encode() + b"\n"
