"""Celery's module of signatures and workflows, with the private names of their classes that libraries import."""

from celery._answer import answer
from lavoro import canvas as _canvas

_chain, _chord = _canvas._chain, _canvas.chord
__getattr__, __dir__ = answer("lavoro.canvas")
