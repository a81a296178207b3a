"""The live screen: shows each frame and each key at once, and does what keys ask for."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from rich.live import Live

from lavoro.app import Lavoro
from lavoro.cli.drawing import console
from lavoro.cli.exits import Exit
from lavoro.cli.top import acting
from lavoro.cli.top.choice import Choice
from lavoro.cli.top.keys import Terminal
from lavoro.cli.top.screen import Screen
from lavoro.cli.top.watching import Act, Watch

REDRAWN = 1.0
"""Seconds after which the screen is drawn again without a reason."""


class Question(NamedTuple):
    """An action that waits for an answer."""

    text: str
    act: Act


def watch(app: Lavoro, interval: float) -> int:
    """Show the screen until a key or signal ends it; return the exit code."""
    terminal = Terminal()
    with terminal.taken():
        try:
            return _Session(app, interval, terminal).run()
        except KeyboardInterrupt:
            return int(Exit.INTERRUPTED)


class _Session:
    def __init__(self, app: Lavoro, interval: float, terminal: Terminal) -> None:
        self._app, self._terminal = app, terminal
        self._watch = Watch(app, interval, terminal.wake)
        self._choice = Choice()
        self._question: Question | None = None

    def run(self) -> int:
        live = Live(console=console(), screen=True, auto_refresh=False, vertical_overflow="crop")
        self._watch.start()
        try:
            with live:
                while self._step(live):
                    pass
        finally:
            self._watch.stop()
        return int(Exit.DONE)

    def _step(self, live: Live) -> bool:
        """Draw, then wait for a key, a frame or another size; return False to end."""
        live.update(self._screen(), refresh=True)
        for key in self._terminal.keys(REDRAWN):
            if not self._press(key):
                return False
        if self._terminal.stopping:
            self._pause(live)
        return True

    def _screen(self) -> Screen:
        line = self._question.text if self._question else self._watch.said
        return Screen(self._watch.frame, self._choice, self._app.timezone, line=line, trouble=self._watch.trouble)

    def _press(self, key: str) -> bool:
        """Answer the question, or act, or move; return False to end."""
        if self._question is not None:
            asked, self._question = self._question, None
            if key in ("y", "Y"):
                self._watch.ask(asked.act)
            else:
                self._watch.said = "nothing was done"
            return True
        self._watch.said = ""
        if key == "q":
            return False
        made = acting.ACTIONS.get((self._choice.view.name, key))
        if made is None:
            self._choice.press(key, self._watch.frame)
        elif (row := self._choice.row(self._watch.frame)) is not None:
            self._begin(made(self._app, row))
        return True

    def _begin(self, action: acting.Action) -> None:
        if action.question:
            self._question = Question(f"{action.question} [y/N]", action.act)
        else:
            self._watch.ask(action.act)

    def _pause(self, live: Live) -> None:
        """Give the terminal to the shell until the process goes on."""
        self._terminal.stopping = False
        live.stop()
        self._terminal.give_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._terminal.take()
        live.start()
