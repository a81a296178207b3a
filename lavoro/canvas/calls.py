"""The methods of tasks that make signatures of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from lavoro.canvas import continuation, replacing
from lavoro.canvas.maps import chunks, xmap, xstarmap
from lavoro.canvas.signature import Signature
from lavoro.execution.context import Context

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)


class Signatures(Generic[P, R]):
    """Base of tasks: ``add.s(2, 3)`` is a call that is not made yet."""

    app: Any
    request: Any

    def signature(self, args: Sequence[Any] | None = None, *starargs: Any, **starkwargs: Any) -> Signature[R]:
        """Return a signature: ``add.signature((2, 3), countdown=10)``."""
        return Signature(self, args, *starargs, **{"app": self.app, **starkwargs})

    subtask = signature

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]: ...

    # Up to three arguments come from the call: one is a result, three are what an error callback gets.

    @overload
    def s(self: Signatures[Concatenate[Any, Q], R], *args: Q.args, **kwargs: Q.kwargs) -> Signature[R]: ...

    @overload
    def s(self: Signatures[Concatenate[Any, Any, Q], R], *args: Q.args, **kwargs: Q.kwargs) -> Signature[R]: ...

    @overload
    def s(self: Signatures[Concatenate[Any, Any, Any, Q], R], *args: Q.args, **kwargs: Q.kwargs) -> Signature[R]: ...

    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """Return a signature with these arguments: ``add.s(2)``, called with 3, adds 3 and 2."""
        return Signature(self, args, kwargs, app=self.app)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """Return a signature with these arguments and no others: results of tasks before it are not passed on."""
        return Signature(self, args, kwargs, immutable=True, app=self.app)

    def map(self, it: Iterable[Any]) -> xmap:
        """Return a signature of one message that calls the task for each item."""
        return xmap(self.signature(), it, app=self.app)

    def starmap(self, it: Iterable[Any]) -> xstarmap:
        """Return a signature of one message that calls the task with the arguments of each item."""
        return xstarmap(self.signature(), it, app=self.app)

    def chunks(self, it: Iterable[Any], n: int) -> chunks:
        """Return a signature of many calls, ``n`` in each message."""
        return chunks(self.signature(), it, n, app=self.app)

    def signature_from_request(
        self, request: Context | None = None, args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None, queue: str | None = None, **extra_options: Any,
    ) -> Signature[R]:  # fmt: skip
        """Return the signature of a call like the one of a request, by default that of this run."""
        request = self.request if request is None else request
        args = request.args if args is None else args
        kwargs = request.kwargs if kwargs is None else kwargs
        options = {**request.as_execution_options(), **extra_options}
        if queue or (queue := request.queue):
            options["queue"] = queue
        options.setdefault("priority", request.priority)
        return self.signature(args, kwargs, {name: value for name, value in options.items() if value is not None})

    subtask_from_request = signature_from_request

    # While it runs

    def replace(self, sig: Any) -> Any:
        """End this run, and have a signature run in the place of this task, under its id: ``return self.replace(sig)``.

        It takes over the callbacks of this task, the rest of its chain, and its place in a chord. A group becomes the
        list of its results. Raises ``Ignore``, or ``ImproperlyConfigured`` for a signature that is part of a chord,
        and for an empty chain.
        """
        return self.on_replace(replacing.prepared(self.app, self.request, sig))

    def on_replace(self, sig: Any) -> Any:
        """Called by ``replace``, with what comes in the place of the task; a subclass returns ``super()``'s."""
        return replacing.replaced(self.app, self.request, sig)

    def add_to_chord(self, sig: Any, lazy: bool = False) -> Any:
        """Add a task to the header of the chord that this task is in, and send it; ``lazy`` leaves that to the caller.

        Its result comes last in the list that the body gets.
        """
        request = self.request
        if not request.chord:
            raise ValueError("Current task is not member of any chord")
        sig.set(group_id=request.group, chord=request.chord, root_id=request.root_id)
        sig.options.pop("group_index", None)
        sig.freeze()
        return sig if lazy else sig.delay()

    def __follow__(self, request: Any, state: str, value: Any, traceback: str | None) -> None:
        """Call what follows a run in the calling process."""
        continuation.call(self.app, request, state, value, traceback)
