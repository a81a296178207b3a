"""Signatures of messages: a worker accepts a message only if its sender has a key."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Sequence
from typing import TypeVar

from lavoro.exceptions import SecurityError
from lavoro.protocol.message import Job, Message

Sendable = TypeVar("Sendable", Message, Job)

_SIGNED = re.compile(r'\{"signature":"([0-9a-f]*)"(?:,|(?=\}))(.*)\}', re.DOTALL)
"""Options with a signature, which stands first: the text after it is, byte by byte, the text that was signed."""


class Keyring:
    """Signs with its first key and accepts a signature by any of its keys, so that keys can be replaced one by one.

    A signature is an HMAC-SHA256 over the task's id and name, its arguments as they are encoded, and its options. Not
    over queue, priority and due time, which a worker may change. ``required`` refuses messages without a signature.
    """

    def __init__(self, keys: Sequence[str], *, required: bool = False) -> None:
        self._keys = [key.encode() for key in keys]
        self._required = required

    def signed(self, message: Sendable) -> Sendable:
        """Return the message with a signature among its options, in place of any it had."""
        options, _ = _split(message.options)
        text = _signature(self._keys[0], message, options)
        rest = f",{options[1:]}" if options else "}"
        return message._replace(options=f'{{"signature":"{text}"{rest}')

    def verified(self, job: Job) -> Job:
        """Return the job without its signature; raises ``SecurityError`` if it is wrong, or missing where required."""
        options, found = _split(job.options)
        if found is None and not self._required:
            return job
        if found is None:
            raise SecurityError(
                f"{job.name} has no signature, and lavoro_require_signature is on: whoever sends it needs a key of"
                " lavoro_signing_keys (SQL has none)"
            )
        if not any(hmac.compare_digest(found, _signature(key, job, options)) for key in self._keys):
            raise SecurityError(
                f"the signature of {job.name} was not made with a key of lavoro_signing_keys, or the task was changed"
                " after it was sent"
            )
        return job._replace(options=options)


def keyring_of(keys: Sequence[str] | None, *, required: bool) -> Keyring | None:
    """Return the keyring that the settings ask for; None if there are no keys."""
    return Keyring(keys, required=required) if keys else None


def _split(options: str | None) -> tuple[str | None, str | None]:
    """Return the options without their signature, and the signature."""
    found = _SIGNED.fullmatch(options) if options else None
    if found is None:
        return options, None
    return (f"{{{found[2]}}}" if found[2] else None), found[1]


def _signature(key: bytes, call: Message | Job, options: str | None) -> str:
    """Each part with its length before it: no two calls are the same sequence of bytes."""
    digest = hmac.new(key, digestmod=hashlib.sha256)
    for part in (call.id, call.name, call.args, call.kwargs, options, call.payload):
        data = _bytes(part)
        digest.update(b"-" if data is None else b"%d:" % len(data))
        digest.update(data or b"")
    return digest.hexdigest()


def _bytes(part: uuid.UUID | str | bytes | None) -> bytes | None:
    if isinstance(part, uuid.UUID):
        return part.bytes
    return part.encode() if isinstance(part, str) else part
