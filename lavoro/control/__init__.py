"""Remote control: questions and commands to the workers, as Celery's `app.control`; both are rows of the database."""

from lavoro.control.api import Control
from lavoro.control.inspect import Inspect
from lavoro.control.panel import Panel, State, control_command, inspect_command

__all__ = ["Control", "Inspect", "Panel", "State", "control_command", "inspect_command"]
