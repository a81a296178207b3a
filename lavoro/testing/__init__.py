"""For tests: a worker inside of the test process, and fixtures for pytest."""

from lavoro.testing.worker import TestWorker, worker

__all__ = ["TestWorker", "worker"]
