"""The results of tasks: their state and value, and waiting for them."""

from lavoro.execution.waiting import allow_join_result, assert_will_not_block, denied_join_result, task_join_will_block
from lavoro.result.async_result import AsyncResult
from lavoro.result.eager_result import EagerResult
from lavoro.result.group_result import GroupResult
from lavoro.result.result_set import ResultSet
from lavoro.result.tuples import result_from_tuple

__all__ = [
    "AsyncResult",
    "EagerResult",
    "GroupResult",
    "ResultSet",
    "allow_join_result",
    "assert_will_not_block",
    "denied_join_result",
    "result_from_tuple",
    "task_join_will_block",
]
