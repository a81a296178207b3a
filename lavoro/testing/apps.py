"""Applications for tests, and the applications of the process put back after a test."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from lavoro.app import Lavoro
from lavoro.runtime import current_app
from lavoro.surface.log import Logging

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
    "broker_heartbeat": 0,
}
"""The settings of each application for tests, which its own go before."""


class UnitLogging(Logging):
    """Leaves the log of the tests as it is."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        self.already_setup = True


class Trap:
    """Stands for the current application, and fails the test that depends on it."""

    def __getattr__(self, name: str) -> Any:
        if name in ("_is_coroutine", "__func__"):  # asked by unittest.mock
            return None
        raise RuntimeError("Test depends on current_app")


def TestApp(
    name: str | None = None, config: Mapping[str, Any] | None = None, enable_logging: bool = False,
    set_as_current: bool = False, log: Any = UnitLogging, backend: str | None = None, broker: str | None = None,
    **options: Any,
) -> Lavoro:  # fmt: skip
    """Make an application for tests; ``config`` are defaults, so that the test may set them anew.

    Without a broker it uses the database of the environment, or an embedded one. It is not made current.
    """
    given = {**deepcopy(DEFAULT_TEST_CONFIG), **(config or {})}
    for setting, value in (("broker_url", broker), ("result_backend", backend)):
        if value is not None:
            given.pop(setting, None)
    app = Lavoro(
        name or "lavoro.tests", set_as_current=set_as_current, log=None if enable_logging else log,
        broker=broker, backend=backend, **options,
    )  # fmt: skip
    app.add_defaults(given)
    return app


TestApp.__test__ = False  # type: ignore[attr-defined]


@contextmanager
def set_trap(app: Any) -> Iterator[None]:
    """Make the trap the application of each thread while the block runs."""
    finders = [*current_app.finders]
    current_app.finders[:] = [Trap]
    try:
        yield
    finally:
        current_app.finders[:] = finders


@contextmanager
def setup_default_app(app: Lavoro, use_trap: bool = False) -> Iterator[None]:
    """Put the current application, the default one and the shared tasks back after the block, and close ``app``."""
    before = current_app.Existing.now()
    try:
        if use_trap:
            with set_trap(app):
                yield
        else:
            yield
    finally:
        before.restore()
        if before.current is not app:
            app.close()
