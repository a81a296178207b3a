"""The application of the tests of event loops: its tasks use asyncio, as code that knows nothing of greenlets does."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from tests.worker.app import app, note

who: contextvars.ContextVar[int] = contextvars.ContextVar("who")


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        await asyncio.sleep(0.01)
        yield number


async def through(number: int) -> list[Any]:
    """Use what asyncio keeps by thread, before and after others have run."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    who.set(number)
    await asyncio.sleep(0.05)
    time.sleep(0.01)  # a call that lets other greenlets run in the middle of a step
    assert asyncio.get_running_loop() is asyncio.get_event_loop() is loop
    assert asyncio.current_task() is task
    assert asyncio.all_tasks() == {task}
    future: asyncio.Future[int] = asyncio.Future()
    assert future.get_loop() is loop
    loop.call_later(0.02, future.set_result, number)
    both = await asyncio.gather(future, asyncio.to_thread(lambda: time.sleep(0.02) or who.get()))
    items = [item async for item in numbers()]
    async for _ in numbers():
        break  # its end is up to the loop's hook
    return [*both, items]


@app.task(name="through")
def run_through(number: int) -> list[Any]:
    note("start", number)
    return asyncio.run(through(number))


@app.task(name="runner")
def runner(number: int) -> list[Any]:
    """Run two coroutines, one after the other, in one loop that is kept."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(through(number))
        return loop.run_until_complete(through(number))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@app.task(name="spawn")
def spawn(number: int) -> str:
    async def program() -> str:
        command = [sys.executable, "-c", f"import sys; print(sys.stdin.read() + '{number}'); sys.exit({number})"]
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate(b"in ")
        return f"{output.decode().strip()} {process.returncode}"

    return asyncio.run(program())


@app.task(name="nested")
def nested() -> str:
    async def outer() -> None:
        coroutine = asyncio.sleep(0)
        try:
            asyncio.run(coroutine)
        finally:
            coroutine.close()

    try:
        asyncio.run(outer())
    except RuntimeError as error:
        return str(error)
    return "no error"


@app.task(name="no loop")
def no_loop() -> bool:
    time.sleep(0.02)
    hooks = sys.get_asyncgen_hooks()
    return asyncio._get_running_loop() is None and hooks.firstiter is None and hooks.finalizer is None


@app.task(name="cut short", soft_time_limit=0.3)
def cut_short() -> None:
    async def wait() -> None:
        while True:
            await asyncio.sleep(0.1)  # a thread hears of the limit between two calls

    asyncio.run(wait())
