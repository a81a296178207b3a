"""Middleware: code around each run of a task, and around each call of it."""

from lavoro.middleware.calls import Middleware, RunCall, SendCall

__all__ = ["Middleware", "RunCall", "SendCall"]
