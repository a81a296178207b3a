"""The guide's table of import lines: it has a row for each line of the applications, and both sides of it exist."""

from __future__ import annotations

import re
from importlib import import_module

from tests.applications.renaming import APPLICATIONS, Table


def test_each_import_line_has_its_row() -> None:
    table = Table()
    left = {
        line
        for file in APPLICATIONS.glob("*/**/*.py")
        for line in re.findall(r"^ *from lavoro.*$", table.with_celery(file.read_text()), re.MULTILINE)
    }
    assert left == {"from lavoro.serialization import register"}  # in the place of kombu's
    assert table.with_celery("from lavoro import Task, AsyncResult\n    from lavoro.exceptions import Retry\n") == (
        "from celery import Task\nfrom celery.result import AsyncResult\n    from celery.exceptions import Retry\n"
    )


def test_the_names_of_each_row_exist() -> None:
    names = Table().names
    assert ("lavoro.exceptions", "Retry") in names
    for module, name in names:
        found = getattr(import_module(module), name, None)
        assert found is not None or import_module(f"{module}.{name}"), (module, name)
