"""``lavoro inspect``: ask workers."""

from lavoro.cli.control import inspect

__all__ = ["inspect"]
