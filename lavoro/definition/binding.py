"""The facts of a task that are computed when it is bound, so that calls and runs only read them."""

from __future__ import annotations

from typing import Any

HANDLERS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")


class Binding:
    """The methods that a task's class has of its own, and the builder of its calls without options.

    It is replaced as a whole when an attribute of the task is set. So values that another thread still computes from
    the former attributes are kept in a former binding, which is not read any more.
    """

    __slots__ = ("calls_itself", "handlers", "hooked", "names_itself", "sends_itself", "usual")

    def __init__(
        self, handlers: frozenset[str], *, calls_itself: bool, names_itself: bool, sends_itself: bool
    ) -> None:  # fmt: skip
        self.handlers = handlers
        """The names of the handlers that are written."""
        self.calls_itself = calls_itself
        """Whether ``__call__`` is written; then a worker calls that in place of ``run``."""
        self.names_itself = names_itself
        """Whether ``shadow_name`` is written."""
        self.sends_itself = sends_itself
        """Whether ``apply_async`` is written; then retries go through it too."""
        self.hooked = False
        """Whether the task has hooks, its options ``before`` and ``after``."""
        self.usual: tuple[int, Any] | None = None
        """The version of the settings, and the builder that was made of them."""

    @classmethod
    def of(cls, task_class: type, base: Any) -> Binding:
        """Look at the class of a task; ``base`` is the one that writes nothing of its own."""

        def writes(name: str) -> bool:
            return getattr(task_class, name) is not getattr(base, name)

        return cls(
            frozenset(filter(writes, HANDLERS)),
            calls_itself=writes("__call__"), names_itself=writes("shadow_name"), sends_itself=writes("apply_async"),
        )  # fmt: skip

    def renewed(self, task: Any) -> Binding:
        """Return the same for other attributes of the task."""
        new = Binding(
            self.handlers, calls_itself=self.calls_itself, names_itself=self.names_itself,
            sends_itself=self.sends_itself,
        )  # fmt: skip
        new.hooked = any(isinstance(hooks, (tuple, list)) and hooks for hooks in (task.before, task.after))
        return new
