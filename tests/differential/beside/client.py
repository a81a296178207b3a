"""Run the client's part of a program: ``python client.py PROGRAM`` imports it and calls its `main`."""

import importlib
import sys
import traceback

from record import say

if __name__ == "__main__":
    try:
        importlib.import_module(sys.argv[1]).main()
    except BaseException as error:
        traceback.print_exc()
        say("main", error)
        sys.exit(1)
    say("main", "ends")
