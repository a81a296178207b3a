"""The signals of a worker's life: which, from whom, with which arguments."""

from celery import Celery, signals
from record import say

POOLS = ("default", "solo", "threads", "prefork", "gevent")
WORKER = ["-c", "1", "-n", "node@there"]
app = Celery("signals_worker")
ONCE = (
    "celeryd_init celeryd_after_setup worker_init worker_ready worker_shutting_down worker_shutdown"
    " worker_process_init worker_process_shutdown import_modules setup_logging after_setup_logger"
    " after_setup_task_logger worker_before_create_process"
).split()


def connect(name):
    def receiver(sender=None, signal=None, **arguments):
        said = sender if isinstance(sender, str) else type(sender).__name__
        say(f"{name}.sender", said)
        say(f"{name}.arguments", sorted(arguments))
        for key in ("sig", "how", "exitcode", "loglevel", "logfile", "colorize", "format"):
            if key in arguments:
                say(f"{name}.{key}", arguments[key])
        if "instance" in arguments:
            say(f"{name}.instance", (arguments["instance"].hostname, arguments["conf"] is not None))

    if name != "setup_logging":
        getattr(signals, name).connect(receiver, weak=False)


for each in ONCE:
    if hasattr(signals, each):
        connect(each)


@app.task
def work():
    return 1


def main():
    work.delay().get(timeout=30)
