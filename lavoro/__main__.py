"""The command ``lavoro``, also as ``python -m lavoro``."""

from __future__ import annotations

import gc

from lavoro import cli


def main() -> None:
    """Run the command line, and end this process."""
    try:
        cli.main()
    finally:
        gc.freeze()  # else Python searches all modules for garbage before it ends, for more than 0.1 seconds


if __name__ == "__main__":
    main()
