"""Stamps: headers that are added to each task of a canvas, from a visitor that sees one signature after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

Stamps = dict[str, Any]


class StampingVisitor(ABC):
    """Says which headers each part of a canvas gets; each method returns them, or nothing.

    A returned ``stamped_headers`` names those that count as stamps; without it all do::

        class ByTenant(StampingVisitor):
            def on_signature(self, sig, **headers):
                return {"tenant": sig.kwargs.get("tenant")}

        chain(a.s(), b.s()).stamp(visitor=ByTenant())
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Stamps:
        """A task."""

    def on_group_start(self, group: Any, **headers: Any) -> Stamps:
        """A group, before its members."""
        return {}

    def on_group_end(self, group: Any, **headers: Any) -> None:  # noqa: B027
        """A group, after its members."""

    def on_chain_start(self, chain: Any, **headers: Any) -> Stamps:
        """A chain, before its steps."""
        return {}

    def on_chain_end(self, chain: Any, **headers: Any) -> None:  # noqa: B027
        """A chain, after its steps."""

    def on_chord_header_start(self, sig: Any, **header: Any) -> Stamps:
        """A chord, before the tasks of its header: that is a group."""
        sig.tasks = sig.header_group()
        return self.on_group_start(sig.tasks, **header)

    def on_chord_header_end(self, sig: Any, **header: Any) -> None:
        """A chord, after the tasks of its header."""
        self.on_group_end(sig.tasks, **header)

    def on_chord_body(self, sig: Any, **header: Any) -> Stamps:
        """The body of a chord."""
        return {}

    def on_callback(self, callback: Any, **header: Any) -> Stamps:
        """A callback of a task."""
        return {}

    def on_errback(self, errback: Any, **header: Any) -> Stamps:
        """An error callback of a task."""
        return {}


def stamps_of(
    signature: Any, asked: Mapping[str, Any] | None, append: bool, headers: Mapping[str, Any], *, own: bool = True
) -> Stamps:
    """Return the headers of a signature: what the visitor was ``asked`` for, those from above, and its own.

    With ``append`` a header that stands in two of them becomes a list of both; else the first of the three wins.
    """
    found: Stamps = {**headers}
    names = dict.fromkeys(found.setdefault("stamped_headers", list(headers)))
    if asked is not None:
        names |= dict.fromkeys(asked.get("stamped_headers", list(asked)))
        _merge(found, {name: value for name, value in asked.items() if name != "stamped_headers"}, append)
    if own:
        names |= dict.fromkeys(signature.options.get("stamped_headers") or ())
        _merge(found, {k: v for k, v in signature.options.items() if k in names}, append)
    found["stamped_headers"] = list(names)
    return found


def stamp_links(signature: Any, visitor: Any, append: bool, headers: Mapping[str, Any]) -> None:
    """Stamp the callbacks of a signature, and its error callbacks, without the signature's own stamps."""
    for option, ask in (("link", "on_callback"), ("link_error", "on_errback")):
        links = signature.options.get(option) or ()
        given = deepcopy(dict(headers))
        for link in links if isinstance(links, (list, tuple)) else [links]:
            linked = signature.from_dict(link, app=signature._app) if type(link) is dict else link
            asked = (getattr(visitor, ask)(linked, **given) or {}) if visitor is not None else None
            given = stamps_of(signature, asked, append, given, own=False)
            linked.stamp(visitor, append, **given)
            if linked is not link:
                link.update(linked)


def _merge(into: Stamps, other: Mapping[str, Any], append: bool) -> None:
    """Add headers, in place; of one that stands there already keep the first, or both."""
    for name, value in other.items():
        known = into.get(name)
        if name not in into:
            into[name] = value
        elif isinstance(known, dict) and isinstance(value, Mapping):
            _merge(known, value, append)
        elif isinstance(known, list) and isinstance(value, list):
            into[name] = [*known, *value]
        elif append:
            into[name] = [*(known if isinstance(known, (list, tuple, set)) else [known]), value]
