"""Replaces a running task by a signature, which goes on under its id."""

from __future__ import annotations

from typing import Any

from lavoro.calling.outbox import composed
from lavoro.calling.publish_signals import tell_published
from lavoro.canvas.composing import last_of
from lavoro.canvas.continuation import inherited
from lavoro.canvas.signature import Signature, as_list, maybe_signature
from lavoro.exceptions import Ignore, ImproperlyConfigured
from lavoro.protocol.place import Follow


class Replaced(Ignore):
    """Ends a run whose task goes on as another one."""

    def __init__(self, follow: Follow) -> None:
        super().__init__("Replaced by new task")
        self.follow = follow


def prepared(app: Any, request: Any, signature: Any) -> Any:
    """Return the signature with the id, the callbacks, the chain and the chord of a run."""
    if request.called_directly:
        raise ImproperlyConfigured(f"replace() needs a running task: {request.task} was called as a function")
    if "chord" in signature.options:
        raise ImproperlyConfigured("A signature replacing a task must not be part of a chord")
    signature = _ending_in_a_task(app, signature)
    if not request.is_eager:  # else the run goes on, and calls them itself
        for callback in request.callbacks or ():
            signature.link(callback)
        for errback in request.errbacks or ():
            signature.link_error(errback)
    if signature.subtask_type == "chain" and (links := as_list(signature.options.pop("link", None))):
        signature.tasks[-1].extend_list_option("link", links)
    last_of(signature).id = request.id  # callers wait for this one, not for an id of its own
    signature.freeze(request.id)
    nesting = (request.replaced_task_nesting or 0) + 1
    signature.set(
        chord=request.chord, group_id=request.group, group_index=request.group_index, root_id=request.root_id,
        replaced_task_nesting=nesting,
    )  # fmt: skip
    for step in signature.tasks if signature.subtask_type == "chain" else ():
        step.set(replaced_task_nesting=nesting)
    for form in reversed(request.chain or ()):
        signature |= maybe_signature(form, app=app).set(replaced_task_nesting=nesting)
    return signature


def _ending_in_a_task(app: Any, signature: Any) -> Any:
    """Return a signature that ends in one task: groups give the list of their results."""
    if signature.subtask_type == "chain" and not signature.tasks:
        raise ImproperlyConfigured("Cannot replace with an empty chain")
    if last_of(signature).subtask_type == "group":
        signature |= Signature("celery.accumulate", kwargs={"index": 0}, app=app)
    return signature


def replaced(app: Any, request: Any, signature: Any) -> Any:
    """Send a prepared signature with the outcome of the run, and end that; in eager mode return its value."""
    if request.is_eager:
        return signature.apply().get(disable_sync_subtasks=False)
    with composed(app) as outbox:
        signature.apply_async()
    outbox.refuse_unique()
    tell_published(outbox.shown)
    messages, heir = inherited(request.options, outbox.messages)
    raise Replaced(Follow(messages, heir, replaced=True))
