"""The reprs of arguments for logs and lists, without the values whose names mark them as secret."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from lavoro.text.printable import described

LONGEST = 1024
"""Characters of the repr of arguments, as Celery's ``argsrepr_maxsize``."""
HIDDEN = "***"


def shown(
    args: Sequence[Any], kwargs: Mapping[str, Any], *, names: Sequence[str], patterns: Sequence[str]
) -> tuple[str, str]:
    """Return the reprs of positional and keyword arguments, with ``***`` for values whose name matches a pattern.

    ``names`` are those of the positional ones. Patterns are as for files, and case makes no difference. Keys of
    dictionaries inside of arguments count as names too. A repr is cut at about ``LONGEST`` characters, and one that
    raises is replaced by a sentence.

    >>> shown(("ann", "1234"), {"card": {"token": 5}}, names=["user", "password"], patterns=["password", "*token*"])
    ("('ann', '***')", "{'card': {'token': '***'}}")
    """
    secret = _matcher(tuple(patterns))
    named = zip_longest(names[: len(args)], args, fillvalue="")
    cleaned = [_clean(name, value, secret) for name, value in named]
    both = cleaned if isinstance(args, list) else tuple(cleaned), _clean("", kwargs, secret)
    return described(both[0], LONGEST), described(both[1], LONGEST)


@lru_cache(maxsize=16)
def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)", re.IGNORECASE)


def _clean(name: object, value: Any, secret: re.Pattern[str]) -> Any:
    if isinstance(name, str) and secret.match(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: _clean(key, item, secret) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        cleaned = [_clean("", item, secret) for item in value]
        return cleaned if isinstance(value, list) else tuple(cleaned)
    return value
