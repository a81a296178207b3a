"""Signatures and what is made of them: chains, groups, chords, maps."""

from lavoro.canvas.chain import Chain as _chain
from lavoro.canvas.chain import chain
from lavoro.canvas.chord import chord
from lavoro.canvas.group import group
from lavoro.canvas.maps import chunks, xmap, xstarmap
from lavoro.canvas.signature import Signature, maybe_signature, signature
from lavoro.canvas.stamping import StampingVisitor

subtask, maybe_subtask = signature, maybe_signature

__all__ = [
    "Signature", "StampingVisitor", "_chain", "chain", "chord", "chunks", "group", "maybe_signature", "maybe_subtask",
    "signature", "subtask", "xmap", "xstarmap",
]  # fmt: skip
