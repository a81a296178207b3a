"""Draws the picture of ``lavoro top`` in the documentation, from a frame that is written here: run it as a module."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

from rich.console import Console

from lavoro.cli.top.choice import Choice
from lavoro.cli.top.screen import Screen
from lavoro.monitoring.top import Failing, Frame, Queue, Running, Worker

PICTURE = Path(__file__).parents[2] / "docs/images/top.svg"
NOW = dt.datetime(2027, 1, 31, 9, 0, tzinfo=dt.timezone.utc)
FRAME = Frame(
    NOW,
    "postgresql://shop@db.example/shop",
    2.0,
    [
        Queue("celery", 1204, 18, 3, 8, True, 2.4, False, True, 412.0, 398.5),
        Queue("mail", 31, 0, 0, 0, True, 312.0, True, True, 1.5, 0.0),
        Queue("video", 4, 0, 0, 0, True, 75.0, False, False, 0.0, 0.0),
    ],
    [
        Worker("one@web1", 0, 4711, "gevent", 100, 5, False, 3.0, ["celery", "mail"], 201.0),
        Worker("two@web2", 0, 1147, "gevent", 100, 3, False, 1.0, ["celery", "mail"], 197.5),
    ],
    [
        Running("01a22fba-f112-7c37-b391-9e6d4f9bc6bf", "shop.report", "celery", "one@web1", 128.0, 1, False),
        Running("01a22fbd-55f2-771c-8721-ef34c757960f", "shop.thumbnails", "celery", "two@web2", 12.0, 2, False),
    ],
    [
        Failing("shop.charge", "ConnectionError", 12, NOW, 4.0, "01a22fb1-0c52-7b2e-8c1d-3f4be6a8d210", "no route"),
        Failing("shop.total", "KeyError", 1, NOW, 65.0, "01a22fa9-5a11-7d02-9a6f-0b8e7c3d4e5f", "total"),
    ],
)  # fmt: skip


def picture() -> str:
    """Return the picture as SVG."""
    console = Console(
        record=True, width=120, height=24, file=io.StringIO(), color_system="truecolor", force_terminal=True
    )
    console.print(Screen(FRAME, Choice(), dt.timezone.utc, line=""))
    return console.export_svg(title="lavoro top", unique_id="top")


if __name__ == "__main__":
    PICTURE.write_text(picture())
