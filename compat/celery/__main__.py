"""The command ``celery``, also as ``python -m celery``, which is ``lavoro`` with Celery's variables."""

from lavoro.cli import main_of_celery as main

if __name__ == "__main__":
    main()
