"""A TCP proxy of our own between Lavoro and its server: it delays, swallows, cuts, and keeps dead connections open."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import struct
import threading
import time
from typing import Any

CHUNK = 65_536
_APPLICATION = re.compile(rb"application_name\0([^\0]*)\0")


class Link:
    """One connection through the proxy: two sockets."""

    def __init__(self, client: socket.socket, server: socket.socket | None) -> None:
        self.client, self.server = client, server
        self.name = ""
        """The application's, as it tells the server when it connects."""
        self.swallows: set[str] = set()
        """Directions whose bytes disappear: "up" to the server, "down" to the client."""

    def other(self, end: socket.socket) -> socket.socket | None:
        """The opposite end."""
        return self.server if end is self.client else self.client

    def close(self, *, reset: bool = False) -> None:
        """Close both ends; ``reset`` without the courtesy of a FIN."""
        for end in (self.client, self.server):
            if end is not None:
                with contextlib.suppress(OSError):
                    if reset:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.close()


class Proxy:
    """Listens on a port of its own and passes everything on, until it is told otherwise. A context manager."""

    def __init__(self, port: int) -> None:
        self.target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._links: set[Link] = set()
        self._lock = threading.RLock()
        self._swallowed: set[str] = set()
        self._refusing = self._ending = False
        self.delay = 0.0
        """Seconds that each piece of an answer is late."""
        self.accepted = 0
        """How many connections have been made through it."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join(10)
        self.cut()
        self._listener.close()

    def url(self, url: str) -> str:
        """The URL that leads through the proxy where ``url`` leads directly."""
        return url.replace(f":{self.target[1]}/", f":{self.port}/")

    # Faults

    def swallow(self, *directions: str) -> None:
        """From now on let the bytes of these directions disappear, on all connections; nobody is told."""
        with self._lock:
            self._swallowed = set(directions)
            for link in self._links:
                link.swallows |= set(directions)

    def heal(self) -> None:
        """Pass everything on again; connections that have lost bytes are of no use any more, and are cut."""
        with self._lock:
            self._swallowed, self._refusing, self.delay = set(), False, 0.0
            broken = [link for link in self._links if link.swallows]
        for link in broken:
            self._drop(link)

    def cut(self, *, reset: bool = False) -> int:
        """Close all connections; return how many there were."""
        with self._lock:
            links = list(self._links)
        for link in links:
            self._drop(link, reset=reset)
        return len(links)

    def freeze(self, name: str = "") -> int:
        """Let the present connections of an application be half-open for ever; new ones are fine.

        The server's end is closed, so that what it was doing is rolled back. Return how many there were.
        """
        with self._lock:
            links = [link for link in self._links if link.name.startswith(name)]
            for link in links:
                link.swallows = {"up", "down"}
                if link.server is not None:
                    self._forget(link.server)
                    link.server.close()
                    link.server = None
            return len(links)

    def refuse(self) -> None:
        """Close the present connections, and each new one at once."""
        self._refusing = True
        self.cut()

    # The loop

    def _run(self) -> None:
        while not self._ending:
            for key, _ in self._selector.select(0.05):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    with self._lock:
                        self._pass_on(key.data, key.fileobj)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            self.accepted += 1
            if self._refusing:
                client.close()
                return
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                client.close()
                return
            with self._lock:
                link = Link(client, server)
                link.swallows = set(self._swallowed)
                self._links.add(link)
                for end in (client, server):
                    end.settimeout(5)  # one that takes nothing any more must not hold up the others
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._selector.register(end, selectors.EVENT_READ, link)

    def _pass_on(self, link: Link, end: Any) -> None:
        try:
            data = end.recv(CHUNK)
        except (OSError, ValueError):
            data = b""
        direction = "up" if end is link.client else "down"
        if direction == "up" and not link.name and (found := _APPLICATION.search(data)):
            link.name = found[1].decode()
        if not data:
            if direction == "down" and link.swallows:  # the client is not to hear of that either
                self._forget(end)
            else:
                self._drop(link)
        elif direction not in link.swallows:
            if self.delay and direction == "down":
                time.sleep(self.delay)
            other = link.other(end)
            try:
                if other is not None:
                    other.sendall(data)
            except OSError:
                self._drop(link)

    def _forget(self, end: socket.socket) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(end)

    def _drop(self, link: Link, *, reset: bool = False) -> None:
        with self._lock:
            self._links.discard(link)
            for end in (link.client, link.server):
                if end is not None:
                    self._forget(end)
            link.close(reset=reset)
