"""The name of a key: a text with the names of arguments in braces, or a function of the arguments."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_KEY_LENGTH = 500
"""Most characters of a key."""

_FORMATTER = string.Formatter()


class Template:
    """Makes the key of each call of one task.

    ``names`` are those of the task's positional arguments. A text such as ``"tenant:{tenant}"`` names arguments, and
    their attributes or items (``{order.tenant}``, ``{order[tenant]}``). A function gets the arguments of the call.
    """

    __slots__ = ("_defaults", "_fields", "_names", "_source", "_what")

    def __init__(
        self, source: str | Callable[..., object], names: Sequence[str], defaults: Mapping[str, object], what: str
    ) -> None:
        self._source, self._names, self._defaults, self._what = source, names, defaults, what
        self._fields = _fields_of(source, what) if isinstance(source, str) else []

    def key(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the key of a call; raises ``ValueError`` if it has none, or one that cannot be stored."""
        if callable(self._source):
            made = self._source(*args, **kwargs)
            if not isinstance(made, (str, int)) or isinstance(made, bool):
                raise ValueError(f"{self._what}: the function must return a text or a number, not {made!r:.80}")
            return self._checked(str(made))
        if not self._fields:
            return self._checked(self._source)
        given = {**self._defaults, **dict(zip(self._names, args, strict=False)), **kwargs}
        missing = [field for field in self._fields if field not in given]
        if missing:
            raise ValueError(
                f"{self._what}: {self._source!r} names the argument {missing[0]!r}, which this call does not have"
            )
        try:
            return self._checked(_FORMATTER.vformat(self._source, (), given))
        except (AttributeError, LookupError, TypeError) as error:
            raise ValueError(f"{self._what}: {self._source!r} cannot be made: {error}") from error

    def _checked(self, key: str) -> str:
        if not key or len(key) > MAX_KEY_LENGTH or "\0" in key:
            raise ValueError(
                f"{self._what}: a key has 1 to {MAX_KEY_LENGTH} characters, none of them a zero byte,"
                f" not {len(key)}: {key!r:.80}"
            )
        return key


def _fields_of(text: str, what: str) -> list[str]:
    """Return the names of the arguments that a template has; raises ``ValueError`` for one that cannot be read."""
    try:
        fields = [field for _, field, _, _ in _FORMATTER.parse(text) if field is not None]
    except ValueError as error:
        raise ValueError(f"{what}: the template {text!r} cannot be read: {error}") from None
    for field in fields:
        if not _FIELD(field):
            raise ValueError(
                f"{what}: {field!r} in the template {text!r} must name an argument, or a public attribute or an item of"
                " one, such as {order.tenant} or {order[tenant]}"
            )
    return [field.replace("[", ".").partition(".")[0] for field in fields]


_FIELD = re.compile(r"[^\W\d]\w*(\.[^\W\d_]\w*|\[[\w-]+\])*").fullmatch
"""A template may have come with a signature: it reads no private attribute."""
