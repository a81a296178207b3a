"""Reads keys of a terminal while a loop goes on, and gives the terminal back as it was, however the program ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end the program: without a handler the terminal would stay as it is."""
_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "k": "up", "\x1b[B": "down", "\x1bOB": "down", "j": "down",
    "\x1b[5~": "page up", "\x1b[6~": "page down", "\x1b[H": "home", "\x1b[1~": "home", "\x1b[F": "end",
    "\x1b[4~": "end", "\t": "next", "\x1b[C": "next", "\x1b[Z": "previous", "\x1b[D": "previous",
    "\r": "enter", "\n": "enter", "\x1b": "escape", "\x04": "q",
}  # fmt: skip


class Ended(SystemExit):
    """A signal has ended the program; its code is what a shell gives for that signal."""


class Terminal:
    """The terminal of the process, with each key at once and without its echo."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._input)
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        self.stopping = False
        """Whether Ctrl-Z was pressed."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the terminal, and give it back."""
        before = {number: signal.getsignal(number) for number in (signal.SIGWINCH, signal.SIGTSTP, *ENDING)}
        signal.signal(signal.SIGWINCH, self._changed)
        signal.signal(signal.SIGTSTP, self._stop)
        for number in ENDING:
            signal.signal(number, self._end)
        self.take()
        try:
            yield
        finally:
            self.give_back()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(self._woken)
            wake, self._wake = self._wake, -1
            os.close(wake)

    def take(self) -> None:
        """Read each key at once; Ctrl-C stays a signal."""
        tty.setcbreak(self._input)

    def give_back(self) -> None:
        """Make the terminal what it was."""
        with suppress(termios.error, OSError):  # it may be gone
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)

    def wake(self) -> None:
        """Let ``keys`` return; any thread may call it."""
        with suppress(BlockingIOError, OSError):
            os.write(self._wake, b"w")

    def keys(self, seconds: float) -> list[str]:
        """Wait for keys, a change of size or ``wake``; return the names of the keys. EOF is the key q."""
        ready = select.select([self._input, self._woken], [], [], seconds)[0]
        if self._woken in ready:
            os.read(self._woken, 4096)
        return _named(os.read(self._input, 1024)) if self._input in ready else []

    def _changed(self, number: int, frame: FrameType | None) -> None:
        self.wake()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True
        self.wake()

    def _end(self, number: int, frame: FrameType | None) -> None:
        raise Ended(128 + number)


def _named(read: bytes) -> list[str]:
    """Return the names of the keys that were typed; a key without a name is its character.

    >>> _named(b"p\\x1b[A\\x1b[Bj")
    ['p', 'up', 'down', 'down']
    """
    if not read:
        return ["q"]
    text, found = read.decode(errors="replace"), []
    while text:
        known = next((text[:size] for size in (4, 3, 2, 1) if text[:size] in _NAMES), text[0])
        found.append(_NAMES.get(known, known))
        text = text[len(known) :]
    return found
