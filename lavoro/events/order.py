"""The order in which a monitor keeps what it was told: the latest use, and the clocks of events."""

from __future__ import annotations

from collections import UserDict
from collections.abc import ItemsView, ValuesView
from typing import Any


class LRU(UserDict[str, Any]):
    """A mapping of at most ``limit`` items; the one that was used longest ago makes room.

    What is read from ``data`` does not count as used.
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit

    def __getitem__(self, key: str) -> Any:
        value = self.data.pop(key)
        self.data[key] = value
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        if self.limit and key not in self.data and len(self.data) >= self.limit:
            del self.data[next(iter(self.data))]
        self.data[key] = value

    def items(self) -> ItemsView[str, Any]:
        """Return the items as they are now; others may change them meanwhile."""
        return self.data.copy().items()

    def values(self) -> ValuesView[Any]:
        """Return the values as they are now."""
        return self.data.copy().values()


class Weighed(tuple[Any, ...]):
    """A clock, a time, a node and a task: in the order of the clocks, and where one has none, of the times."""

    __slots__ = ()

    def __new__(cls, clock: int | None, timestamp: float | None, id: str | None, task: Any = None) -> Weighed:
        return super().__new__(cls, (clock, timestamp, id, task))

    @property
    def clock(self) -> int | None:
        """The logical clock."""
        return self[0]  # type: ignore[no-any-return]

    @property
    def timestamp(self) -> float | None:
        """The time."""
        return self[1]  # type: ignore[no-any-return]

    @property
    def id(self) -> str | None:
        """The name of the node, or of the process there."""
        return self[2]  # type: ignore[no-any-return]

    def __lt__(self, other: Any) -> bool:
        if self[0] and other[0]:
            return bool(self[2] < other[2] if self[0] == other[0] else self[0] < other[0])
        return bool(self[1] < other[1])

    def __gt__(self, other: Any) -> bool:
        return bool(other < self)

    def __le__(self, other: Any) -> bool:
        return not other < self

    def __ge__(self, other: Any) -> bool:
        return not self < other
