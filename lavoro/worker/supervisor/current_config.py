"""The settings of a worker, as the last child that loaded the application sent them."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

from lavoro.worker.config import RELOADED, WorkerConfig

logger = logging.getLogger("lavoro.worker")


class CurrentConfig:
    """Takes over the settings that concern new children alone, and warns of the others that have changed."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self._adjusted: dict[str, Any] = {}
        self._named: list[str] = []

    def adjust(self, **values: Any) -> None:
        """Change values by a command: they win over those of the application and of the command line."""
        self._adjusted.update(values)
        self.config = self.adjusted(self.config)

    @property
    def serves_others(self) -> bool:
        """Whether a command has changed the queues."""
        return "queues" in self._adjusted

    def adjusted(self, told: WorkerConfig) -> WorkerConfig:
        """Return a configuration with the values that commands have changed."""
        return dataclasses.replace(told, **self._adjusted)

    def take_over(self, told: WorkerConfig) -> None:
        """Take over from a child that was started later."""
        changed = told.fixed(self.config)
        if changed and changed != self._named:
            logger.warning("changed settings that only a restart of the worker takes over: %s", ", ".join(changed))
        self._named = changed
        for note in told.notes:
            if note not in self.config.notes:
                logger.warning("%s", note)
        self.config = dataclasses.replace(self.config, **{name: getattr(told, name) for name in RELOADED})
