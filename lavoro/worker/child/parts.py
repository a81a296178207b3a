"""The parts of a running child, each of which knows only those that it uses."""

from __future__ import annotations

from typing import NamedTuple

from lavoro.beat.service import Service
from lavoro.execution.run_settings import RunSettings
from lavoro.worker.child.claimer import Claimer
from lavoro.worker.child.finisher import Finisher
from lavoro.worker.child.heartbeat import Heartbeat
from lavoro.worker.child.hooks import ChildHooks
from lavoro.worker.child.in_flight import InFlight
from lavoro.worker.child.pools.base import Pool
from lavoro.worker.child.prefetched import Prefetched
from lavoro.worker.child.progress import Progress
from lavoro.worker.child.runner import TaskRunner
from lavoro.worker.child.self_fence import SelfFence
from lavoro.worker.child.slots import Slots
from lavoro.worker.child.tally import Tally
from lavoro.worker.child.unhandled import EndHandlers
from lavoro.worker.scoreboard import Scoreboard


class Parts(NamedTuple):
    """Made once the child has its lease."""

    settings: RunSettings
    scoreboard: Scoreboard
    in_flight: InFlight
    finisher: Finisher
    runner: TaskRunner
    pool: Pool
    prefetched: Prefetched
    claimer: Claimer
    progress: Progress
    self_fence: SelfFence
    heartbeat: Heartbeat
    end_handlers: EndHandlers
    schedules: Service
    hooks: ChildHooks
    tally: Tally
    slots: Slots
