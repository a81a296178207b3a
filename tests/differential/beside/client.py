"""Run the client's part of a program: ``python client.py PROGRAM`` imports it and calls `main` and each `part_...`."""

import importlib
import sys
import traceback
from types import ModuleType

from record import say


def run(program: ModuleType) -> bool:
    """Call the parts in the order of the file; one that fails does not keep the others from running."""
    parts = [name for name in vars(program) if name == "main" or name.startswith("part_")]
    ended = [_ends(program, name) for name in parts]
    return all(ended)


def _ends(program: ModuleType, name: str) -> bool:
    try:
        getattr(program, name)()
    except BaseException as error:
        traceback.print_exc()
        say(f"end of {name}", error)
        return False
    say(f"end of {name}", None)
    return True


if __name__ == "__main__":
    sys.exit(not run(importlib.import_module(sys.argv[1])))
