"""The table and the line that are chosen, and how keys change them."""

from __future__ import annotations

from typing import Any

from lavoro.cli.top.tables import VIEWS, View
from lavoro.monitoring.top import Frame

PAGE = 10
"""Lines that "page down" moves."""
_STEPS = {"up": -1, "down": 1, "page up": -PAGE, "page down": PAGE, "home": -(10**6), "end": 10**6}


class Choice:
    """A line is remembered by its key: it stays chosen while others come and go before it."""

    def __init__(self) -> None:
        self._at = 0
        self._keys: dict[str, tuple[Any, int]] = {}
        self.alone = False
        """Whether the table is shown alone."""
        self.helping = False
        """Whether the keys are shown."""

    @property
    def view(self) -> View:
        """The table."""
        return VIEWS[self._at]

    def row(self, frame: Frame | None) -> Any:
        """Return the line; None if the table is empty."""
        rows = self.view.lines(frame) if frame is not None else ()
        return rows[self.place(frame, self.view)] if frame is not None and rows else None

    def place(self, frame: Frame, view: View) -> int:
        """Return where the line is now; the place that it had if it is gone."""
        rows = view.lines(frame)
        key, place = self._keys.get(view.name, (None, 0))
        found = next((at for at, row in enumerate(rows) if key is not None and view.key(row) == key), place)
        return max(0, min(found, len(rows) - 1))

    def press(self, key: str, frame: Frame | None) -> None:
        """Move, or choose another table."""
        if key == "?":
            self.helping = not self.helping
        elif key == "escape":
            self.helping = self.alone = False
        elif key == "enter":
            self.alone = not self.alone
        elif key in ("next", "previous"):
            self._at = (self._at + (1 if key == "next" else -1)) % len(VIEWS)
        elif key.isdigit() and 0 < int(key) <= len(VIEWS):
            self._at = int(key) - 1
        elif key in _STEPS and frame is not None and (rows := self.view.lines(frame)):
            place = max(0, min(self.place(frame, self.view) + _STEPS[key], len(rows) - 1))
            self._keys[self.view.name] = (self.view.key(rows[place]), place)
