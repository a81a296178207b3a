"""Log lines for people at a terminal: in colour, with the time first."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.logging import RichHandler


def handler() -> logging.Handler:
    """Return a handler that writes to the terminal of stderr."""
    return RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False, log_time_format="%X")
