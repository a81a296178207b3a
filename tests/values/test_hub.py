"""Waiting on gevent's hub: it ends with the first descriptor that is ready, or in time, and other greenlets go on."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

from lavoro.runtime import native

PROGRAM = """
    from gevent import monkey
    monkey.patch_all()
    import gevent, json, os, socket, time
    from lavoro.runtime import hub, native
    from lavoro.runtime.alarm import readable

    (reader, writer), (other, _) = os.pipe(), os.pipe()
    turns = []

    def turn():
        while True:
            turns.append(None)
            gevent.sleep(0)

    found = {"on the hub": native.hub is hub, "nothing": list(readable([reader, other], 0))}
    turning, start = gevent.spawn(turn), time.monotonic()
    found["late"] = list(readable([reader], 0.05))
    found["in time"] = time.monotonic() - start >= 0.05
    turning.kill()
    found["others went on"] = len(turns) > 10
    found["writable"] = hub.wait([reader, writer], hub.READ | hub.WRITE, 60) == (hub.WRITE, writer)
    gevent.spawn(os.write, writer, b"!")
    found["ready"] = list(readable([other, reader], None)) == [reader]
    found["ready at the end"] = list(readable([other, reader], 0)) == [reader]
    near, far = socket.socketpair()
    far.close()
    found["closed at the other end"] = list(readable([other, near.fileno()], None)) == [near.fileno()]
    try:
        readable([-1], 60)
    except ValueError as error:
        found["not open"] = str(error)
    print(json.dumps(found))
"""


def test_waits_end_with_the_first_that_is_ready_or_in_time() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert "-1" in found.pop("not open")
    assert (found.pop("nothing"), found.pop("late")) == ([], [])
    assert [name for name, held in found.items() if held is not True] == []


def test_where_gevent_has_not_patched_there_is_none() -> None:
    assert native.hub is None
