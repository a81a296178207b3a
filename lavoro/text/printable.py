"""Makes text for people from any value: of limited length, without the characters that a terminal acts on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

MOST = 10_000
"""Characters of a value's repr by default."""

_RISKY = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_LINE, _IN_LINES = re.compile(f"[\t\n{_RISKY}]"), re.compile(f"[{_RISKY}]")
"""Control characters, marks of direction, lone surrogates; the second pattern spares tabs and line ends."""


class Lines(str):
    """A text of several lines, such as a traceback, which may stay so in a log."""

    __slots__ = ()


def plain(text: str, *, lines: bool = False) -> str:
    r"""Return the text with control characters as escapes; ``lines`` keeps tabs and line ends.

    >>> plain("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    if text.isprintable():
        return text
    return (_IN_LINES if lines else _IN_LINE).sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def plain_json(text: str) -> str:
    r"""Return JSON with control characters as the escapes of JSON, so that it can still be read by programs.

    >>> plain_json('"a\x9b\u202e"')
    '"a\\u009b\\u202e"'
    """
    return text if text.isprintable() else _IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def cut(text: str, most: int) -> str:
    """Return no more than the first ``most`` characters, and say how many are left out."""
    return text if len(text) <= most else f"{text[:most]}{_more(len(text) - most)}"


def told(value: object, most: int = MOST) -> str:
    """Return ``str(value)``, even if its ``__str__`` raises; of a list and the like about ``most`` characters."""
    if type(value) in _BRACKETS:
        return described(value, most)
    if not isinstance(value, BaseException) or vars(BaseException)["__str__"] is not type(value).__str__:
        return _attempted(str, value)
    match arguments(value):  # as BaseException does
        case ():
            return ""
        case (BaseException() as only,):
            return _attempted(str, only)
        case (only,):
            return told(only, most)
        case args:
            return described(args, most)


def described(value: object, most: int = MOST) -> str:
    """Return about ``most`` characters of the value's repr, even if its ``__repr__`` raises."""
    try:
        return _short(value, [most], 0)
    except Exception as error:  # a container that another thread changes
        return _speechless(value, "repr", error)


def arguments(exception: BaseException) -> tuple[Any, ...]:
    """Return the arguments of an exception, even if its class gives ``args`` another meaning."""
    args: tuple[Any, ...] = vars(BaseException)["args"].__get__(exception)
    return args


def _attempted(words: Callable[[object], str], value: object) -> str:
    try:
        return words(value)
    except BaseException as error:  # it may even leave by sys.exit()
        return _speechless(value, words.__name__, error)


def _speechless(value: object, words: str, error: BaseException) -> str:
    return f"<{_name(value)}: {words}() raised {_name(error)}>"


def _name(value: object) -> str:
    return cut(type(value).__name__, 200)


def _more(count: int) -> str:
    return f"... (cut: {count} more characters)"


_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"), tuple: ("(", ")"), set: ("{", "}"), frozenset: ("frozenset({", "})"), dict: ("{", "}"),
}  # fmt: skip
_DEEP = 50


def heavy(value: object, most: int) -> bool:
    """Tell whether a value holds more than about ``most`` characters; counting stops there."""
    left = [value]
    while left and most >= 0:
        part = left.pop()
        if isinstance(part, (str, bytes, bytearray)):
            most -= len(part)
        elif type(part) in _BRACKETS:
            most -= 2 * len(part)  # type: ignore[arg-type]
            if most >= 0:
                left.extend(part)  # type: ignore[arg-type]
                left.extend(part.values() if isinstance(part, dict) else ())
        elif isinstance(part, BaseException):
            left.append(arguments(part))
        else:
            most -= 1
    return most < 0


def _short(value: Any, left: list[int], depth: int) -> str:
    """Return the repr of a value, up to ``left[0]`` characters, which all parts share."""
    kind, room = type(value), max(left[0], 0)
    if kind in _BRACKETS and value:
        left[0] -= 4
        opening, closing = _BRACKETS[kind]
        parts = ", ".join(_parts(value, left, depth + 1)) if depth < _DEEP else "..."
        return f"{opening}{parts}{',' if kind is tuple and len(value) == 1 else ''}{closing}"
    if isinstance(value, BaseException) and vars(BaseException)["__repr__"] is kind.__repr__:
        return f"{_name(value)}({', '.join(_parts(arguments(value), left, depth + 1))})"
    if kind in (str, bytes, bytearray):
        text = repr(value[:room])
        if (more := max(len(value), len(text) - 2) - room) > 0:
            text = f"{text[:room]}{_more(more)}"
    else:
        text = cut(_attempted(repr, value), room)
    left[0] -= len(text)
    return text


def _parts(value: Any, left: list[int], depth: int) -> Iterator[str]:
    for done, item in enumerate(value):
        if left[0] <= 0:
            yield f"... (cut: {len(value) - done} more)"
            return
        left[0] -= 2
        part = _short(item, left, depth)
        yield f"{part}: {_short(value[item], left, depth)}" if isinstance(value, dict) else part
