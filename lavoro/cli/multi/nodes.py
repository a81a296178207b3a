"""The nodes that a command line of ``lavoro multi`` means, each with its own options: Celery's rules."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

PIDFILE, LOGFILE = "/var/run/lavoro/%n.pid", "/var/log/lavoro/%n%I.log"
COMMAND = "-m lavoro worker --detach"
_OWN = ("--cmd", "--append", "--hostname", "-n", "--prefix", "--suffix", "--range-prefix", "--executable")
"""Options of multi, which no worker gets."""
Options = Mapping[str, "str | None"]


@dataclass(frozen=True)
class Words:
    """A command line, taken apart: names, options, and options for some of the nodes."""

    names: tuple[str, ...]
    options: dict[str, str | None]
    some: dict[str, dict[str, str | None]]
    """Options by the nodes that they are for, as they were written: ``1``, ``1-3``, ``one,two``."""
    rest: tuple[str, ...] = ()
    """From ``--`` on."""
    signal: signal.Signals | None = None

    @classmethod
    def of(cls, words: Sequence[str]) -> Words:
        """Take it apart; a short option takes the word behind it unless that begins with a hyphen."""
        names: list[str] = []
        options: dict[str, str | None] = {}
        some: dict[str, dict[str, str | None]] = {}
        rest: tuple[str, ...] = ()
        named: signal.Signals | None = None
        left = [word for word in words if word]
        while left:
            word = left.pop(0)
            if word == "--":
                rest = ("--", *left)
                break
            if not word.startswith("-"):
                names.append(word)
                continue
            if (number := _signal(word)) is not None:
                named = number
                continue
            name, value = word, None
            if word.startswith("--"):
                name, equals, text = word.partition("=")
                value = text if equals else None
            elif left and not left[0].startswith("-"):
                value = left.pop(0)
            name, colon, nodes = name.partition(":")
            (some.setdefault(nodes, {}) if colon else options)[name] = value
        return cls(tuple(names), options, some, rest, named)


def _signal(word: str) -> signal.Signals | None:
    """Return the signal that a word such as -9 or -QUIT names."""
    text = word[1:].upper().removeprefix("SIG")
    if re.fullmatch(r"\d+", text):
        try:
            return signal.Signals(int(text))
        except ValueError:
            raise ValueError(f"{word} is no signal") from None
    return getattr(signal, f"SIG{text}", None) if len(text) > 2 else None


@dataclass(frozen=True)
class Node:
    """A worker to be: its name and its command line."""

    name: str
    executable: str
    command: tuple[str, ...]
    options: dict[str, str | None] = field(default_factory=dict)
    rest: tuple[str, ...] = ()

    def expand(self, text: str) -> str:
        """Replace %n, %N, %d and %h by the parts of the name; %i and %I are left to the worker."""
        first, _, host = self.name.partition("@")
        marks = {"%n": first, "%N": first, "%d": host, "%h": self.name, "%%": "%"}
        return re.sub("%[nNdh%]", lambda found: marks[found[0]], text)

    @cached_property
    def arguments(self) -> list[str]:
        """The command line."""
        given: list[str] = []
        for name, value in self.options.items():
            shown = None if value is None else self._value(name, value)
            long = name.startswith("--")
            given += [name] if shown is None else [f"{name}={shown}"] if long else [name, shown]
        return [self.executable, *map(self.expand, self.command), *given, *map(self.expand, self.rest)]

    def _value(self, name: str, value: str) -> str:
        text = self.expand(value)
        return os.path.expanduser(text) if name in ("--pidfile", "--logfile", "-f", "--workdir") else text  # noqa: PTH111

    @property
    def shown(self) -> str:
        """The command line as a shell takes it."""
        return shlex.join(self.arguments)

    @property
    def pidfile(self) -> str:
        """The file with the process id."""
        return self._file("--pidfile", "-p")

    @property
    def logfile(self) -> str:
        """The file with the log."""
        return self._file("--logfile", "-f")

    def _file(self, *names: str) -> str:
        value = next(self.options[name] for name in names if name in self.options)
        return self._value(names[0], value or "").replace("%i", "0").replace("%I", "")


def nodes_of(words: Words) -> list[Node]:
    """Return the nodes; raises ValueError for options of nodes that there are not."""
    own = {name: words.options.get(name) for name in _OWN}
    count = words.names[0] if len(words.names) == 1 and words.names[0].isdigit() else None
    if not words.names:
        raise ValueError("name the nodes, or their number: lavoro multi start 3, lavoro multi start one two")
    host = own["--hostname"] or own["-n"] or socket.gethostname()
    suffix = own["--suffix"] or host
    prefix = (own["--range-prefix"] or "celery") if count else own["--prefix"] or ""
    names = [str(number) for number in range(1, int(count) + 1)] if count else list(words.names)
    some = _by_name(words.some, names, ranges=count is not None)
    return [_node(words, own, name, prefix, "" if suffix in ('""', "''") else suffix, some) for name in names]


def _by_name(some: Mapping[str, Options], names: list[str], *, ranges: bool) -> dict[str, dict[str, str | None]]:
    """Spread options over the names of nodes: ``1,2`` and ``1-3`` are several, a number is the place of a name."""
    found: dict[str, dict[str, str | None]] = {}
    for nodes, options in some.items():
        for node in _several(nodes, ranges=ranges):
            if node.isdigit() and not ranges:
                if not 0 < int(node) <= len(names):
                    raise ValueError(f"an option is for node {node}, and there are {len(names)}, counted from 1")
                node = names[int(node) - 1]
            found.setdefault(node, {}).update(options)
    return found


def _several(nodes: str, *, ranges: bool) -> Iterable[str]:
    for part in nodes.split(","):
        span = re.fullmatch(r"(\d+)-(\d+)", part) if ranges else None
        yield from map(str, range(int(span[1]), int(span[2]) + 1)) if span else (part,)


def _node(
    words: Words, own: Options, name: str, prefix: str, suffix: str, some: Mapping[str, Options]
) -> Node:  # fmt: skip
    host = socket.gethostname()
    marks = {"%h": host, "%n": host.partition(".")[0], "%d": host.partition(".")[2]}
    full = re.sub("%[hnd]", lambda found: marks[found[0]], name if "@" in name else f"{prefix}{name}@{suffix}")
    options = {each: value for each, value in words.options.items() if each not in _OWN}
    options |= some.get(full, some.get(full.partition("@")[0], some.get(name, {})))
    if not {"--pidfile", "-p"} & {*options}:
        options["--pidfile"] = PIDFILE
    if not {"--logfile", "-f"} & {*options}:
        options["--logfile"] = LOGFILE
    append = shlex.split(own["--append"] or "")
    return Node(
        full, own["--executable"] or sys.executable, tuple(shlex.split(own["--cmd"] or COMMAND)),
        {"-n": full, **options}, (*append, *words.rest),
    )  # fmt: skip
