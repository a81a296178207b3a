"""Several results as one: waiting for all of them, and reading them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from lavoro import states
from lavoro.exceptions import ImproperlyConfigured
from lavoro.execution.waiting import assert_will_not_block
from lavoro.protocol.lineage import Lineage, importable, leaves
from lavoro.result import members
from lavoro.result.async_result import AsyncResult
from lavoro.result.gathering import Patience, by_site, forget, learn, raise_of, states_of
from lavoro.runtime import current_app

OnInterval = Callable[[], object]
Callback = Callable[[str, Any], Any]


class ResultSet(Lineage):
    """Results that are waited for and read together; members are ``AsyncResult``, or sets themselves::

        ResultSet([add.delay(1, 1), add.delay(2, 2)]).get(timeout=10)     # [2, 4]

    Questions about all of them, such as ``ready``, take one statement. To wait for thousands takes about one for each
    thousand, and one listening connection.
    """

    parent: Any = None
    supports_native_join: Any
    _app: Any = None
    """Of a class that one application has made, that one."""

    def __init__(self, results: Iterable[Any], app: Any = None, ready_barrier: object = None, **_: Any) -> None:
        self._app = app if app is not None else self._app
        self.results: list[Any] = results if isinstance(results, list) else list(results or ())
        """The members, in order."""

    @property
    def app(self) -> Any:
        """The application: the one given, else that of the first member."""
        if self._app is None:
            self._app = self.results[0].app if self.results else current_app.get()
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property  # type: ignore[no-redef]
    def supports_native_join(self) -> bool | None:
        """Whether ``get`` is ``join_native``: as the first member says; None for an empty set."""
        return self.results[0].supports_native_join if self.results else None

    # Members

    def add(self, result: Any) -> None:
        """Add a result, unless it is a member."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Remove a result, which may be given by its id; raises ``KeyError`` if it is no member."""
        if isinstance(result, str):
            result = self.app.AsyncResult(result)
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Remove a result, if it is a member."""
        if result in self.results:
            self.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add those of the results that are no members."""
        known = {*map(members.key, self.results)}
        for result in results:
            if members.key(result) not in known:
                known.add(members.key(result))
                self.results.append(result)

    def clear(self) -> None:
        """Remove all members."""
        self.results.clear()

    # State: one statement for all

    def successful(self) -> bool:
        """Tell whether all have returned."""
        return all(state == states.SUCCESS for each in self._states() for state in each)

    def failed(self) -> bool:
        """Tell whether one has raised."""
        return any(state == states.FAILURE for each in self._states() for state in each)

    def waiting(self) -> bool:
        """Tell whether one is not over."""
        return not self.ready()

    def ready(self) -> bool:
        """Tell whether all are over."""
        return all(state is not None for each in self._states() for state in each)

    def completed_count(self) -> int:
        """Return how many members have returned; those that have raised do not count."""
        return sum(all(state == states.SUCCESS for state in each) for each in self._states())

    def _states(self) -> Iterator[list[str | None]]:
        """Yield for each member the states of its tasks: None for one that is not over."""
        found = states_of(members.tasks(self.results))
        for member in self.results:
            yield [
                found(each) if isinstance(each, AsyncResult) else each.state if each.ready() else None
                for each in leaves([member])
            ]

    def maybe_throw(self, callback: Callback | None = None, propagate: bool = True) -> None:
        """Raise the exception of the first member that failed; does not wait.

        ``callback(id, value)`` is called for each member before that one.
        """
        learn(members.tasks(self.results))
        for member in self.results:
            member.maybe_throw(callback=callback, propagate=propagate)

    maybe_reraise = maybe_throw

    def learn(self) -> None:
        """Read the outcomes of the members that are over: then reading each costs nothing."""
        learn(members.tasks(self.results))

    # Waiting

    def get(
        self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5,
        callback: Callback | None = None, no_ack: bool = True, on_message: Callable[[Any], object] | None = None,
        disable_sync_subtasks: bool = True, on_interval: OnInterval | None = None,
    ) -> Any:  # fmt: skip
        """Wait for all members and return their values, in the order of the set: see ``join_native``, and ``join``.

        Results of eager calls are joined, all others natively.
        """
        join = self.join_native if self.supports_native_join else self.join
        return join(
            timeout=timeout, propagate=propagate, interval=interval, callback=callback, on_message=on_message,
            disable_sync_subtasks=disable_sync_subtasks, on_interval=on_interval,
        )  # fmt: skip

    def join(
        self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5,
        callback: Callback | None = None, no_ack: bool = True, on_message: object = None,
        disable_sync_subtasks: bool = True, on_interval: OnInterval | None = None,
    ) -> list[Any]:  # fmt: skip
        """Wait for the members in their order and return their values.

        Raises the exception of the first that failed, unless ``propagate`` is false: then it stands in its place. With
        ``callback(id, value)``, which is called in that order, the list is empty. Members that are added meanwhile are
        waited for too.
        """
        if on_message is not None:
            raise ImproperlyConfigured("Backend does not support on_message callback")
        if disable_sync_subtasks:
            assert_will_not_block()
        patience = self._patience(timeout, interval, on_interval, propagate)
        values = []
        with closing(members.Joining(patience)) as joining:
            for position, member in enumerate(self.results):
                joining.wait_for(self.results, position)
                value = members.value_of(member, propagate, patience)
                if callback is not None:
                    callback(member.id, value)
                else:
                    values.append(value)
        return values

    def join_native(
        self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5,
        callback: Callback | None = None, no_ack: bool = True, on_message: Callable[[Any], object] | None = None,
        on_interval: OnInterval | None = None, disable_sync_subtasks: bool = True,
    ) -> list[Any] | None:  # fmt: skip
        """Wait for the members and return their values in the order of the set, as ``join`` does.

        The exception of a member that failed is raised as soon as it has. ``callback(id, value)`` is called as they
        end, and then the value is None; ``on_message`` is called with what is stored of each.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        patience = self._patience(timeout, interval, on_interval, propagate)
        values: list[Any] | None = [None] * len(self.results) if callback is None else None
        with closing(members.as_they_end(list(self.results), patience)) as ends:
            for position, member in ends:
                if on_message is not None:
                    on_message(members.stored_of(member))
                value = members.value_of(member, propagate, patience)
                if callback is not None:
                    callback(member.id, value)
                elif values is not None:
                    values[position] = value
        return values

    def iter_native(
        self, timeout: float | None = None, interval: float = 0.5, no_ack: bool = True,
        on_message: Callable[[Any], object] | None = None, on_interval: OnInterval | None = None,
    ) -> Iterator[tuple[str, Any]]:  # fmt: skip
        """Yield ``(id, what is stored)`` of each member as it ends: ``status``, ``result``, ``traceback`` and others.

        In place of what is stored, a member that is a set has the list of its members.
        """
        patience = self._patience(timeout, interval, on_interval, propagate=False)
        with closing(members.as_they_end(list(self.results), patience)) as ends:
            for _, member in ends:
                about = members.stored_of(member)
                if on_message is not None:
                    on_message(about)
                yield member.id, about

    def then(
        self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None, weak: bool = False
    ) -> ResultSet:
        """Wait for all members, and call ``callback(set)``; if one has failed, also ``on_error(exception)``."""
        values = self.join(propagate=False)
        callback(self)
        if on_error is not None:
            failed = (value for value in values if isinstance(value, BaseException))
            if (error := next(failed, None)) is not None and self.failed():
                on_error(error)
        return self

    def _patience(
        self, timeout: float | None, interval: float | None, on_interval: OnInterval | None, propagate: bool
    ) -> Patience:
        """Begin to wait; a parent that has failed ends it with its error, unless nothing is to be raised."""
        parents = raise_of(members.parents(self)) if propagate else []

        def look() -> None:
            parents[:] = raise_of(parents)
            if on_interval is not None:
                on_interval()

        return Patience.of(timeout, interval, look)

    # All of them

    def forget(self) -> None:
        """Drop the stored outcomes of the members, and those of their parents."""
        forget([*members.tasks(self.results), *members.parents(self)])

    def revoke(
        self, connection: object = None, terminate: bool = False, signal: str | None = None, wait: bool = False,
        timeout: float | None = None,
    ) -> None:  # fmt: skip
        """Keep the tasks from starting, in one statement; with ``terminate`` also end those that run."""
        for site, each in by_site(members.tasks(self.results)).items():
            site.revoke([result.id for result in each], terminate=terminate, signal=signal)
        if wait:
            self.join(timeout, propagate=False)

    # As an object

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, index: Any) -> Any:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    def __eq__(self, other: object) -> bool:
        return other.results == self.results if isinstance(other, ResultSet) else NotImplemented

    def __reduce__(self) -> Any:
        return importable(type(self)), (self.results,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(result.id for result in self.results)}]>"
