"""Takes the commands to this node, carries out those that concern it, and has a child carry out the others."""

from __future__ import annotations

import inspect
import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from lavoro.store import commands
from lavoro.store.commands import Command, as_json
from lavoro.store.tx import Tx
from lavoro.worker.supervisor.children import Children
from lavoro.worker.supervisor.loop import Loop
from lavoro.worker.supervisor.process import ChildProcess
from lavoro.worker.supervisor.upkeep import Upkeep

logger = logging.getLogger("lavoro.worker")

Action = Callable[..., Any]


LASTING = frozenset(("time_limit",))
"""Commands that change a process, and that each process started later has to carry out."""


class Refused(Exception):
    """The node does not carry out a command; the message is the reply."""


class Commands:
    """Takes commands from the database in the upkeep's thread, and carries them out in the main thread.

    ``actions`` are those of the node; the first ready child has the application, so it gets each other command.
    """

    def __init__(
        self, node: str, loop: Loop, upkeep: Upkeep, children: Children, *, every: float = math.inf
    ) -> None:  # fmt: skip
        self._node, self._loop, self._upkeep, self._children, self._every = node, loop, upkeep, children, every
        self.enabled = True
        """Whether commands are carried out: the setting ``worker_enable_remote_control``."""
        self.actions: Mapping[str, Action] = {}
        self._lasting: dict[tuple[str, Any], Command] = {}
        """The last of the commands that processes started later carry out too, by name and task."""
        self._held: list[tuple[Command, float]] = []
        """Those that came while no process was ready, and when they expire (monotonic)."""
        self._look_at = 0.0

    def check(self, now: float) -> None:
        """Look where no notification tells of commands: every so many seconds."""
        if now >= self._look_at and self._every < math.inf:
            self._look_at = now + self._every
            self.look()

    def begin(self, child: ChildProcess) -> None:
        """Have a child that is ready do what others were told before, and what came while none was."""
        for command in self._lasting.values():
            child.pipe.send("command", **command._asdict(), replies=False)
        held, self._held = self._held, []
        for command, until in held:
            if time.monotonic() < until:
                self._pass_on(command)

    def look(self, node: str | None = None) -> None:
        """Take what was sent to this node, if it is the one that is named or None; for any thread."""
        if self.enabled and node in (None, self._node):
            self._upkeep.ask(self._take)

    def _take(self, tx: Tx) -> None:
        for command in commands.take(tx, self._node):
            self._loop.post(partial(self._carry_out, command))

    def _carry_out(self, command: Command) -> None:
        action = self.actions.get(command.name)
        if action is None:
            self._pass_on(command)
            return
        logger.info("command %s of %s", command.name, command.sender)
        try:
            inspect.signature(action).bind(**command.arguments)
            value = action(**command.arguments)
        except (Refused, TypeError, ValueError) as error:
            value = {"error": str(error)}
        self.reply(command.id, value)

    def _pass_on(self, command: Command) -> None:
        """Have each ready child carry it out, and the first one reply."""
        if command.name in LASTING:
            self._lasting[command.name, command.arguments.get("task_name")] = command
        ready = sorted(self._children.ready, key=lambda child: child.number)
        for child in ready:
            child.pipe.send("command", **command._asdict(), replies=child is ready[0])
        if not ready:
            self._held.append((command, time.monotonic() + command.seconds))

    def reply(self, id: int, value: Any) -> None:
        """Store the reply of this node."""
        text = as_json(value)
        self._upkeep.ask(lambda tx: commands.reply(tx, id, node=self._node, text=text))
