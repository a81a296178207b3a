"""For tests: a worker inside of the test process, applications, and fixtures for pytest.

Nothing is imported before it is used: pytest loads the plugin in here for each project that has Lavoro.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Manager", "TestApp", "TestWorker", "setup_default_app", "start_worker", "worker"]

if TYPE_CHECKING:
    from lavoro.testing.apps import TestApp, setup_default_app
    from lavoro.testing.manager import Manager
    from lavoro.testing.pinging import start_worker
    from lavoro.testing.running import TestWorker, worker
else:
    from importlib import import_module

    _PLACES = {
        "Manager": "manager",
        "TestApp": "apps",
        "TestWorker": "running",
        "setup_default_app": "apps",
        "start_worker": "pinging",
        "worker": "running",
    }

    def __getattr__(name):
        """Load a public name at its first use."""
        if name in _PLACES:
            return getattr(import_module(f"lavoro.testing.{_PLACES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
