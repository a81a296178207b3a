"""Tells systemd that a worker is ready, stops, or is alive."""

from __future__ import annotations

import contextlib
import math
import os
import socket

from lavoro.text.printable import plain


class Systemd:
    """Sends datagrams to the socket that NOTIFY_SOCKET names, as ``sd_notify`` does; without one it does nothing.

    The variable is removed from the environment: children and the programs of tasks must not use it.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address  # an abstract socket
        self._interval = _watchdog_interval() if address else math.inf
        self._next = -math.inf

    def tell(self, *words: str) -> None:
        """Send assignments such as ``READY=1``; it waits for nothing, and a missing socket is no error."""
        if self._address:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(map(plain, words)).encode(), self._address)

    def watch(self, now: float) -> None:
        """Say that the worker is alive, twice in the time that systemd waits for it; call it only while it is."""
        if now >= self._next and self._interval < math.inf:
            self._next = now + self._interval
            self.tell("WATCHDOG=1")


def _watchdog_interval() -> float:
    microseconds = os.environ.pop("WATCHDOG_USEC", "")
    meant = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 2_000_000 if meant and microseconds.isdigit() else math.inf
