"""The command ``lavoro``, also as ``python -m lavoro``."""

from lavoro.cli import main

if __name__ == "__main__":
    main()
