"""Messages, names, options and rows that nobody would think of; FUZZ_CASES says how many."""

from __future__ import annotations

import os

CASES = int(os.environ.get("FUZZ_CASES", "1000"))
TOGETHER = 50
"""How many of them are put together from the same parts."""
