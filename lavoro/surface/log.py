"""The object ``app.log``: sets up the log as the worker does."""

from __future__ import annotations

import logging
from typing import Any

from lavoro import log
from lavoro.execution import prints


class Logging:
    """The log of an application, with the formats and colours of its settings."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.already_setup = False

    def setup(
        self, loglevel: str | int | None = None, logfile: str | None = None, redirect_stdouts: bool = False,
        redirect_level: str | int = "WARNING", colorize: bool | None = None, hostname: str | None = None,
    ) -> bool:  # fmt: skip
        """Set the log up, and with ``redirect_stdouts`` take over what is printed; return whether that was done now."""
        if not self.setup_logging_subsystem(loglevel, logfile, colorize=colorize, hostname=hostname):
            return False
        if redirect_stdouts:
            self.redirect_stdouts(redirect_level)
        return True

    def setup_logging_subsystem(
        self, loglevel: str | int | None = None, logfile: str | None = None, format: str | None = None,
        colorize: bool | None = None, hostname: str | None = None, **_: Any,
    ) -> bool:  # fmt: skip
        """Set the log up, once; a receiver of ``setup_logging`` takes that over."""
        if self.already_setup:
            return False
        self.already_setup = True
        conf = self.app.conf
        try:
            log.setup(
                loglevel or "WARNING", logfile=logfile,
                format=format or conf.worker_log_format, datefmt=conf.worker_log_datefmt,
                task_format=conf.worker_task_log_format, task_datefmt=conf.worker_task_log_datefmt,
                colorize=conf.worker_log_color if colorize is None else colorize,
                hijack_root=conf.worker_hijack_root_logger, longest=conf.lavoro_max_log_message,
            )  # fmt: skip
        except Exception:  # of a receiver of `setup_logging`
            self.already_setup = False
            raise
        return True

    def setup_task_loggers(
        self, loglevel: str | int | None = None, logfile: str | None = None, format: str | None = None,
        colorize: bool | None = None, propagate: bool = False, datefmt: str | None = None, **_: Any,
    ) -> logging.Logger:  # fmt: skip
        """Set the parent of the loggers of tasks up, and return it; with ``propagate`` the root's handlers serve it."""
        conf = self.app.conf
        look = log.Look(
            "text", conf.worker_log_format, conf.worker_log_datefmt, format or conf.worker_task_log_format,
            conf.worker_task_log_datefmt if datefmt is None else datefmt, conf.lavoro_max_log_message,
        )  # fmt: skip
        return log.setup_tasks(
            loglevel or "WARNING", look, logfile=logfile, propagate=propagate,
            colorize=conf.worker_log_color if colorize is None else colorize,
        )  # fmt: skip

    def redirect_stdouts(self, loglevel: str | int | None = None, name: str = "") -> None:
        """Write what is printed to the log."""
        prints.redirect_stdouts(loglevel or self.app.conf.worker_redirect_stdouts_level)

    def get_default_logger(self, name: str = "lavoro") -> logging.Logger:
        """Return the logger above Lavoro's own."""
        return logging.getLogger(name)
