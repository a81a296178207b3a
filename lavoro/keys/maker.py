"""Makes the keys of each call of a task, as the JSON that its message carries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lavoro import serialization
from lavoro.keys.limit import Limit, read_limits
from lavoro.keys.template import Template
from lavoro.keys.unique import Unique, read_unique


class KeyMaker(NamedTuple):
    """The limits of a task and its uniqueness, with the templates of their keys."""

    limits: tuple[tuple[Template, Mapping[str, Any]], ...]
    """Each with its terms."""
    unique: Unique | None
    template: Template | None
    """Of the unique key; None: the arguments make it."""
    prefix: str
    """The scope of the unique key, as its first characters."""
    names: tuple[str, ...]
    """The names of positional arguments."""
    defaults: Mapping[str, object]

    def make(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return the keys of a call as JSON; raises ``ValueError`` for a call that has none."""
        keys: dict[str, Any] = {}
        for template, terms in self.limits:  # a limit and a rate of one key are two terms of it
            keys.setdefault("limits", {}).setdefault(template.key(args, kwargs), {}).update(terms)
        if self.unique is not None:
            keys["unique"] = {
                "key": self.prefix + self._name(args, kwargs),
                "until": "time" if self.unique["seconds"] is not None else self.unique["until"],
                "seconds": self.unique["seconds"],
                "error": self.unique["on_conflict"] == "error",
            }
        return serialization.dumps(keys)

    def _name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        if self.template is not None:
            return self.template.key(args, kwargs)
        # The same for positional arguments and keywords, with the defaults filled in.
        named = {**self.defaults, **dict(zip(self.names, args, strict=False)), **kwargs}
        canonical = serialization.dumps([args[len(self.names) :], dict(sorted(named.items()))])
        return hashlib.sha256(canonical.encode()).hexdigest()


def key_maker(
    task: str, queue: str, names: Sequence[str], defaults: Mapping[str, object], options: Mapping[str, Any]
) -> KeyMaker | None:
    """Read the options ``limits``, ``serial`` and ``unique`` of a call; None if it has none of them."""
    given, serial, unique = options.get("limits"), options.get("serial"), read_unique(options.get("unique"))
    if not given and serial is None and unique is None:
        return None
    limits = read_limits(given) if given else []
    if serial is not None:
        limits.append(Limit(serial, running=1))

    def template(source: Any, what: str) -> Template:
        return Template(source, names, defaults, f"task {task!r}, {what}")

    scope = None if unique is None else unique["scope"]
    return KeyMaker(
        tuple(
            (template(each["key"], "limits"), {name: term for name, term in each.items() if name != "key"})
            for each in limits
        ),
        unique,
        template(unique["key"], "unique") if unique is not None and unique["key"] is not None else None,
        {"task": f"task:{task}:", "queue": f"queue:{queue}:", "all": "all:", None: ""}[scope],
        tuple(names),
        defaults,
    )
