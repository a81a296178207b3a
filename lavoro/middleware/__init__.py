"""Middleware: code around each run of a task, and around each call of it."""

from lavoro.middleware.calls import Middleware, RunCall, SendCall
from lavoro.middleware.correlation_id import CorrelationId
from lavoro.middleware.session_cleanup import SessionCleanup
from lavoro.middleware.time_log import TimeLog

__all__ = ["CorrelationId", "Middleware", "RunCall", "SendCall", "SessionCleanup", "TimeLog"]
