"""Tasks about the catalogue: class-based ones, and one with its own serializer."""

from lavoro import Task
from library.celery import app


class Index(Task):
    """Index a book, once for each process prepared."""

    name = "library.index"
    ignore_result = False
    queue = "celery"

    def __init__(self):
        self.words = {"the"}

    def run(self, title, *, fold=True):
        """Return the words that count."""
        return sorted({word.lower() if fold else word for word in title.split()} - self.words)


Index = app.register_task(Index())


@app.task(serializer="shelf", priority=3, expires=300)
def scan(codes):
    """Return what it got."""
    return {"codes": codes, "kind": type(codes).__name__}
