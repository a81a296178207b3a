"""Tasks: of functions, of a class, and one that sends others and waits for them."""

from celery import shared_task
from celery.exceptions import Reject
from celery.result import allow_join_result, result_from_tuple
from celery.utils.log import get_task_logger

from printing.app import Counted, app

logger = get_task_logger(__name__)


class Typeset(Counted):
    """A task that is a class, with a cache of its own."""

    name = "typeset"
    ignore_result = False

    def __init__(self):
        self.cache = {}

    def run(self, text, *, width=10):
        """Return the lines of a text."""
        if text not in self.cache:
            self.cache[text] = [text[start : start + width] for start in range(0, len(text), width)]
        return self.cache[text]


typeset = app.register_task(Typeset())


@app.task(bind=True)
def fold(self, sheet):
    """Fold a sheet as often as an annotation says."""
    return [sheet, self.times, self.page()]


@app.task(bind=True, throws=(ValueError,))
def cut(self, sheet, urgent=False):
    """Cut a sheet, on the queue of its route."""
    if not sheet:
        raise ValueError("no sheet")
    logger.info("cuts %s", sheet)
    return [sheet, self.request.delivery_info["routing_key"]]


@app.task(bind=True)
def book(self, sheets):
    """Cut some sheets in other tasks, and wait for them."""
    sent = [cut.delay(sheet) for sheet in sheets]
    with allow_join_result():
        cuts = [result.get(timeout=30)[0] for result in sent]
    return {"cuts": cuts, "children": [child.id for child in self.request.children] == [one.id for one in sent]}


@shared_task(bind=True, acks_late=True)
def proofread(self, text):
    """Refuse a text without words."""
    if not text.split():
        raise Reject("no words", requeue=False)
    return len(text.split())


@shared_task
def follow(form):
    """Return the state of the result that another task has given on."""
    return result_from_tuple(form, app=app).state
