"""Events: what tasks and workers do, told to monitors as it happens, as Celery's `app.events`; made from rows."""

from lavoro.events.api import Events
from lavoro.events.dispatcher import EventDispatcher
from lavoro.events.event import Event, group_from
from lavoro.events.receiver import EventReceiver
from lavoro.events.state import State

__all__ = ["Event", "EventDispatcher", "EventReceiver", "Events", "State", "group_from"]
