"""Tasks about loans: a base class of their own, retries, limits, errors that are expected."""

from lavoro import Task, current_app, current_task, get_task_logger, shared_task, states
from lavoro.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

logger = get_task_logger(__name__)


class Database(Task):
    """A task with a connection that is made at its first use."""

    abstract = True
    _connection = None

    @property
    def connection(self):
        """The connection."""
        if self._connection is None:
            self._connection = {"a": 3, "b": 0}
        return self._connection

    def before_start(self, task_id, args, kwargs):
        """Tell of the start."""
        logger.info("before %s %s", self.name, args)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        """Tell of the end."""
        logger.info("after %s %s %r", self.name, status, retval)


class NoCopies(Exception):
    """All copies are lent."""


@shared_task(bind=True, base=Database, throws=(NoCopies,), acks_late=True, plugin="loans")
def lend(self, book, rare=False):
    """Lend a copy, if there is one."""
    if not self.connection.get(book):
        raise NoCopies(book)
    info = self.request.delivery_info
    assert current_task.name == self.name
    assert self.request.is_eager or self.AsyncResult(self.request.id).state == states.STARTED
    return [self.plugin, info["routing_key"], info["priority"], self.shelf, current_app.main]


@shared_task(
    bind=True,
    autoretry_for=(Exception,),
    dont_autoretry_for=(KeyError,),
    retry_backoff=True,
    retry_backoff_max=1,
    retry_jitter=True,
    max_retries=5,
)
def remind(self, reader):
    """Fail more often than the annotation allows."""
    if reader == "nobody":
        raise KeyError(reader)
    raise RuntimeError(f"{reader}: try {self.request.retries} of {self.max_retries}")


@shared_task(bind=True)
def again(self, times):
    """Ask for another run by an exception of the application's own making."""
    if self.request.retries >= times:
        return [self.request.retries, self.request.kwargs, self.request.id == current_task.request.id]
    try:
        self.retry(countdown=0, kwargs={"times": times})
    except Retry as error:
        logger.info("said %s", error)
        raise


@shared_task(bind=True, soft_time_limit=0.2)
def audit(self):
    """Take longer than its limit."""
    import time

    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        self.update_state(state="TOO_LONG", meta={"seconds": 0.2})
        raise Ignore() from None


@shared_task
def drop():
    """Be rejected."""
    raise Reject("no such shelf", requeue=False)
