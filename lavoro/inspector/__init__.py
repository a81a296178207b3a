"""The admin API: finds, shows, counts and changes tasks, as ``app.inspector``."""

from lavoro.inspector.inspector import Inspector
from lavoro.inspector.selection import Selection
from lavoro.inspector.values import (
    Attempt,
    Count,
    Done,
    Ended,
    FailureGroup,
    Failures,
    HistoryPoint,
    Page,
    Preview,
    QueueInfo,
    Report,
    TaskDetail,
    TaskInfo,
    WorkerInfo,
)

__all__ = [
    "Attempt",
    "Count",
    "Done",
    "Ended",
    "FailureGroup",
    "Failures",
    "HistoryPoint",
    "Inspector",
    "Page",
    "Preview",
    "QueueInfo",
    "Report",
    "Selection",
    "TaskDetail",
    "TaskInfo",
    "WorkerInfo",
]
