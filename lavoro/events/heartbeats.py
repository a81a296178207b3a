"""Tells which nodes live: one event when a node comes, a heartbeat every two seconds, and one when it goes."""

from __future__ import annotations

import os
import platform
import socket
from collections import Counter
from collections.abc import Iterator, Sequence

from lavoro.events.event import Told
from lavoro.store.events import Node

FREQUENCY = 2.0
"""Seconds between two heartbeats, as Celery's workers send them."""


class Heartbeats:
    """The live nodes, as a monitor was told of them.

    A node sends none of them: its leases tell that it lives.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self.processed: Counter[str] = Counter()
        """The tasks of each node that were told to have ended."""

    def tell(self, nodes: Sequence[Node], now: float) -> Iterator[Told]:
        """Yield the events of a look at the nodes."""
        live = {node.name: node for node in nodes}
        for name, node in self._nodes.items():
            if name not in live:
                yield self._event("worker-offline", node, now)
        for name, node in live.items():
            yield self._event("worker-heartbeat" if name in self._nodes else "worker-online", node, now)
        self._nodes = live

    @property
    def any_node(self) -> str:
        """A node in whose name the end of a task is told that no worker had."""
        names = [node.name for node in self._nodes.values() if node.task_events] or list(self._nodes)
        return names[0] if names else "unknown"

    def _event(self, type: str, node: Node, now: float) -> Told:
        here = node.host == socket.gethostname()
        return {
            "type": type, "timestamp": now, "hostname": node.name, "pid": node.pid, "freq": FREQUENCY,
            "active": node.active, "processed": self.processed[node.name],
            "loadavg": list(os.getloadavg()) if here else None,
            "sw_ident": "lavoro", "sw_ver": node.release, "sw_sys": platform.system() if here else None,
        }  # fmt: skip
