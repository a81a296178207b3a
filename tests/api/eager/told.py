"""A task that notes which of its handlers were called."""

from __future__ import annotations

from typing import Any

from lavoro import Task


class Told(Task[..., Any]):
    """A base class that notes which handlers were called."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.told.append(("before_start", args, kwargs))

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        self.told.append(("on_success", retval))

    def on_failure(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.told.append(("on_failure", repr(exc), einfo.type, str(einfo).splitlines()[-1]))

    def on_retry(self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.told.append(("on_retry", repr(exc)))

    def after_return(self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        self.told.append(("after_return", status, task_id))
