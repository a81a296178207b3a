"""The message builders of one site: they read its settings, routes and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lavoro.calling.message_builder import MessageBuilder, message_builder
from lavoro.calling.routing import Router
from lavoro.execution.context import Context


class MessageBuilders:
    """Makes the message builders of a site's calls, and keeps one for each task's calls without options."""

    def __init__(self, site: Any) -> None:
        self._site = site
        self._router: tuple[tuple[Any, ...], Router] | None = None
        """The settings that were read, and the router that was made of them."""

    def of(
        self, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any],
        caller: Context | None = None,
    ) -> MessageBuilder:  # fmt: skip
        """Make the builder of one call; ``caller`` is the request of the task that calls."""
        return message_builder(self._site.conf, task, name, self.routed(task, name, args, kwargs, options), caller)

    def usual(self, task: Any) -> MessageBuilder | None:
        """Return the builder of a task's calls without options; None if routes read the arguments of each call.

        Made anew when a setting or an attribute of the task has changed. Without it a call takes 12 us longer.
        """
        version, binding = self._site.conf.version, task.__binding__
        known = binding.usual
        if known is None or known[0] != version:
            builder = self.of(task, task.name, (), {}, {}) if self.route_by_name else None
            known = binding.usual = (version, builder)
        return known[1]  # type: ignore[no-any-return]

    @property
    def router(self) -> Router:
        """Finds each call's queue; made anew when a setting it reads was replaced."""
        conf = self._site.conf
        read = conf["task_routes"], conf["task_default_queue"], conf["task_queues"], conf["task_create_missing_queues"]
        known = self._router  # read once: another thread may change the settings
        if known is None or read != known[0]:
            known = self._router = read, Router(*read)
        return known[1]

    @property
    def route_by_name(self) -> bool:
        """Return whether no route looks at a call's arguments, as callables may."""
        routes = self._site.conf["task_routes"] or ()
        return all(isinstance(route, Mapping) for route in (routes if isinstance(routes, (list, tuple)) else [routes]))

    def routed(
        self, task: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a call's options with the task's own and those of its route added."""
        own = task.__call_options__() if task is not None else None
        name = options.get("route_name") or name
        return self.router.route(name, args, kwargs, {**own, **options} if own else options, task)
