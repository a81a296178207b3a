"""The admin API: finds, shows, counts and changes tasks, as ``app.inspector``."""

from lavoro.inspector.inspector import Inspector
from lavoro.inspector.values import (
    Attempt,
    Count,
    Counts,
    FailureGroup,
    Failures,
    HistoryPoint,
    Page,
    QueueInfo,
    TaskDetail,
    TaskInfo,
    WorkerInfo,
)

__all__ = [
    "Attempt",
    "Count",
    "Counts",
    "FailureGroup",
    "Failures",
    "HistoryPoint",
    "Inspector",
    "Page",
    "QueueInfo",
    "TaskDetail",
    "TaskInfo",
    "WorkerInfo",
]
