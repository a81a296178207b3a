"""The class `Signal`: how receivers are connected, called and disconnected."""

from celery import Celery, signals
from celery.utils.dispatch import Signal
from record import attempt, say

POOLS = ()
app = Celery("signals_dispatch")


@app.task
def task():
    pass


@app.task
def other():
    pass


def part_send():
    signal = Signal(name="own", providing_args={"a"})
    said = []

    @signal.connect
    def first(sender=None, **kwargs):
        said.append(("first", sorted(kwargs), kwargs.get("signal") is signal))
        return 1

    @signal.connect(sender="x")
    def second(sender=None, a=None, **kwargs):
        said.append(("second", a))
        return 2

    def broken(**kwargs):
        raise ValueError("broken")

    attempt("connect returns", lambda: signal.connect(broken) is broken)
    attempt("send to all", lambda: [(one.__name__, value) for one, value in signal.send(sender=None, a=5)])
    attempt("send to x", lambda: [(one.__name__, value) for one, value in signal.send(sender="x", a=5)])
    attempt("send to y", lambda: [(one.__name__, value) for one, value in signal.send(sender="y")])
    say("said", said)
    attempt("has_listeners", lambda: (signal.has_listeners(), signal.has_listeners("x"), Signal().has_listeners()))
    attempt("disconnect", signal.disconnect, first)
    attempt("disconnect again", signal.disconnect, first)
    attempt("disconnect by sender", signal.disconnect, second, sender="x")
    attempt("left", lambda: [one.__name__ for one, _ in signal.send(sender="x")])
    attempt("repr", repr, signal)
    attempt("no sender", signal.send)
    attempt("positional sender", lambda: [one.__name__ for one, _ in signal.send("x")])
    attempt("name", lambda: signal.name)


def part_kinds():
    signal = Signal(name="own")
    attempt("no kwargs", signal.connect, lambda sender: None)
    attempt("no arguments", signal.connect, lambda: None)

    def receiver(**kwargs):
        return "once"

    signal.connect(receiver, dispatch_uid="one")
    signal.connect(receiver, dispatch_uid="one")
    attempt("dispatch_uid", lambda: [value for _, value in signal.send(None)])
    signal.connect(receiver)
    signal.connect(receiver)
    attempt("twice", lambda: [value for _, value in signal.send(None)])
    attempt("disconnect by uid", signal.disconnect, dispatch_uid="one")
    attempt("after uid", lambda: [value for _, value in signal.send(None)])
    signal.disconnect(receiver)

    class Has:
        def method(self, **kwargs):
            return "method"

    has = Has()
    signal.connect(has.method)
    attempt("method", lambda: [value for _, value in signal.send(None)])
    del has
    attempt("weak", lambda: [value for _, value in signal.send(None)])
    signal.connect(lambda **kwargs: "kept", weak=False)
    attempt("strong", lambda: [value for _, value in signal.send(None)])


def part_task_senders():
    said = []
    signals.task_prerun.connect(lambda **kwargs: said.append("proxy"), sender=task, weak=False)
    signals.task_prerun.connect(lambda **kwargs: said.append("late"), sender="signals_dispatch.late", weak=False)
    signals.task_prerun.connect(lambda **kwargs: said.append("all"), weak=False)
    task.apply()
    say("task", said)
    said.clear()
    other.apply()
    say("other", said)


def part_names():
    names = (
        "after_setup_logger after_setup_task_logger after_task_publish before_task_publish beat_embedded_init beat_init"
        " celeryd_after_setup celeryd_init eventlet_pool_apply eventlet_pool_postshutdown eventlet_pool_preshutdown"
        " eventlet_pool_started heartbeat_sent import_modules setup_logging task_failure task_internal_error"
        " task_postrun task_prerun task_received task_rejected task_retry task_revoked task_sent task_success"
        " task_unknown user_preload_options worker_before_create_process worker_init worker_process_init"
        " worker_process_shutdown worker_ready worker_shutdown worker_shutting_down"
    ).split()
    for name in names:
        signal = attempt(name, lambda name=name: type(getattr(signals, name)).__name__)
        if signal:
            attempt(f"{name}.name", lambda name=name: getattr(signals, name).name)
