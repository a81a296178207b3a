"""The command ``python -m celery``, which is ``lavoro``."""

from lavoro.cli import main

if __name__ == "__main__":
    main()
