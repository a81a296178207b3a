"""Signatures, chains, groups and chords."""

from celery._answer import answer

__getattr__, __dir__ = answer("lavoro.canvas")
