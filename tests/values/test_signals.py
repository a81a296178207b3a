"""Signals keep Celery's manners."""

from __future__ import annotations

import gc
import logging
from typing import Any

import blinker
import pytest

from lavoro import signals
from lavoro.exceptions import LavoroWarning
from lavoro.signals import Signal


@pytest.fixture(autouse=True)
def logging_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another test may have run a tool in this process that disables the loggers it finds."""
    monkeypatch.setattr(logging.getLogger("lavoro.signals"), "disabled", False)


class Task:
    """What a sender is told by: its name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Ear:
    """A receiver that remembers what it was called with."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def hear(self, **named: Any) -> str:
        self.heard.append(named)
        return "heard"


@pytest.fixture
def signal() -> Signal:
    return Signal(["number"], name="test_signal")


@pytest.fixture
def ear() -> Ear:
    return Ear()


def test_receivers_get_keywords_only(signal: Signal, ear: Ear) -> None:
    signal.connect(ear.hear)
    assert signal.send("sender", number=1) == [(ear.hear, "heard")]
    assert ear.heard == [{"signal": signal, "sender": "sender", "number": 1}]


def test_receivers_are_called_in_the_order_in_which_they_were_connected(signal: Signal) -> None:
    names = [f"receiver {number}" for number in range(20)]
    for number, name in enumerate(names):
        signal.connect(lambda name=name, **_: name, sender="x" if number % 2 else None, weak=False)
    assert [answer for _, answer in signal.send("x")] == names
    assert [answer for _, answer in signal.send("y")] == names[::2]


def test_a_signal_has_a_sender(signal: Signal) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'sender'"):
        signal.send()  # type: ignore[call-arg]


def test_as_a_decorator_with_and_without_arguments(signal: Signal) -> None:
    heard = []

    @signal.connect
    def everything(sender: Any, **_: Any) -> None:
        heard.append(("everything", sender))

    @signal.connect(sender="a")
    def only_a(sender: Any, **_: Any) -> None:
        heard.append(("only a", sender))

    signal.send("a")
    signal.send("b")
    assert sorted(heard) == [("everything", "a"), ("everything", "b"), ("only a", "a")]
    assert everything.__name__ == "everything"


@pytest.mark.parametrize("connected", ["a.add", Task("a.add")])
@pytest.mark.parametrize("sent", ["a.add", Task("a.add")])
def test_senders_are_told_apart_by_name(signal: Signal, ear: Ear, connected: Any, sent: Any) -> None:
    signal.connect(ear.hear, sender=connected)
    signal.send(sent)
    signal.send(Task("other"))
    signal.send(None)
    assert len(ear.heard) == 1
    assert signal.has_listeners(sent)
    assert not signal.has_listeners("other")


def test_a_sender_without_a_name_is_itself(signal: Signal, ear: Ear) -> None:
    sender = object()
    signal.connect(ear.hear, sender=sender)
    signal.send(object())
    assert ear.heard == []
    signal.send(sender)
    assert len(ear.heard) == 1


def test_receivers_are_held_weakly_unless_asked(signal: Signal) -> None:
    weak, strong = Ear(), Ear()
    heard = strong.heard
    signal.connect(weak.hear)
    signal.connect(weak.hear, dispatch_uid="named")
    signal.connect(strong.hear, weak=False)
    del weak, strong
    gc.collect()
    assert len(signal.send(None)) == 1
    assert len(heard) == 1


def test_a_dispatch_uid_connects_once(signal: Signal) -> None:
    first, second = Ear(), Ear()
    signal.connect(first.hear, dispatch_uid="it")
    signal.connect(first.hear, dispatch_uid="it")
    signal.connect(second.hear, dispatch_uid="it")
    signal.send(None)
    assert (len(first.heard), len(second.heard)) == (1, 0)
    assert signal.disconnect(dispatch_uid="it")
    assert not signal.disconnect(dispatch_uid="it")
    signal.connect(second.hear, dispatch_uid="it")
    signal.send(None)
    assert (len(first.heard), len(second.heard)) == (1, 1)


def test_a_dispatch_uid_is_free_again_when_its_receiver_is_gone(signal: Signal) -> None:
    first, second = Ear(), Ear()
    signal.connect(first.hear, dispatch_uid="it")
    del first
    gc.collect()
    signal.connect(second.hear, dispatch_uid="it")
    signal.send(None)
    assert len(second.heard) == 1


def test_disconnecting(signal: Signal, ear: Ear) -> None:
    assert not signal.disconnect(ear.hear)
    signal.connect(ear.hear)
    assert signal
    assert signal.disconnect(ear.hear)
    assert not signal
    assert signal.send(None) == []


def test_disconnecting_from_one_sender(signal: Signal, ear: Ear) -> None:
    signal.connect(ear.hear, sender="a")
    signal.connect(ear.hear, sender="b")
    assert signal.disconnect(ear.hear, sender="a")
    signal.send("a")
    signal.send("b")
    assert [named["sender"] for named in ear.heard] == ["b"]


def test_what_a_receiver_raises_is_logged_and_returned(
    signal: Signal, ear: Ear, caplog: pytest.LogCaptureFixture
) -> None:
    def bad(**_: Any) -> None:
        raise ZeroDivisionError("oops")

    signal.connect(bad)
    signal.connect(ear.hear)
    with caplog.at_level(logging.ERROR):
        answers = dict(signal.send(None))
    assert isinstance(answers[bad], ZeroDivisionError)
    assert answers[ear.hear] == "heard"
    [record] = caplog.records
    assert "signal test_signal: receiver" in record.message
    assert record.exc_info


def test_a_receiver_must_accept_keywords(signal: Signal) -> None:
    with pytest.raises(ValueError, match="cannot receive signal test_signal: it must accept .*kwargs"):
        signal.connect(lambda sender: None)
    assert not signal


def test_a_connection_is_a_receiver_or_uid_with_a_sender(signal: Signal, ear: Ear) -> None:
    signal.connect(ear.hear, dispatch_uid="it")
    signal.connect(ear.hear, sender="a", dispatch_uid="it")
    signal.connect(ear.hear)
    signal.connect(ear.hear)
    assert len(signal.send("a")) == 3
    assert signal.disconnect(dispatch_uid="it")
    assert len(signal.send("a")) == 2
    assert not signal.disconnect(ear.hear, sender="a")
    assert signal.disconnect(ear.hear)
    assert len(signal.send("a")) == 1
    assert signal.send("b") == []


def test_a_decorator_may_name_the_sender_by_position(signal: Signal) -> None:
    @signal.connect("a")
    def hear(sender: Any, **_: Any) -> Any:
        return sender

    assert signal.send("a") == [(hear, "a")]
    assert signal.send("b") == []


@pytest.mark.parametrize("arguments", [(None, False), ("a", False), (blinker.ANY, False)])
def test_a_decorator_takes_all_options_by_position(signal: Signal, arguments: Any) -> None:
    signal.connect(*arguments)(lambda **_: "kept")
    assert [answer for _, answer in signal.send("a")] == ["kept"]


def test_a_receiver_connected_to_one_sender_and_to_all_is_called_twice(signal: Signal, ear: Ear) -> None:
    signal.connect(ear.hear)
    signal.connect(ear.hear, sender="a")
    assert signal.send("a") == [(ear.hear, "heard"), (ear.hear, "heard")]
    assert signal.send("b") == [(ear.hear, "heard")]


def test_methods_of_two_objects_are_two_receivers(signal: Signal, ear: Ear) -> None:
    other = Ear()
    signal.connect(ear.hear)
    signal.connect(other.hear)
    signal.connect(other.hear)
    assert [receiver for receiver, _ in signal.send(None)] == [ear.hear, other.hear]
    assert signal.disconnect(ear.hear)
    assert [receiver for receiver, _ in signal.send(None)] == [other.hear]


def test_a_receiver_that_leaves_while_the_signal_is_sent_is_still_called(signal: Signal, ear: Ear) -> None:
    signal.connect(lambda **_: signal.disconnect(ear.hear), weak=False)
    signal.connect(ear.hear)
    assert [answer for _, answer in signal.send(None)] == [True, "heard"]
    assert len(signal.send(None)) == 1


def test_a_receiver_with_retry_is_called_until_it_does_not_fail(
    signal: Signal, caplog: pytest.LogCaptureFixture
) -> None:
    numbers = iter([0, 2])

    def hear(**_: Any) -> float:
        return 1 / next(numbers)

    signal.connect(hear, retry=True)
    with caplog.at_level(logging.ERROR):
        assert [answer for _, answer in signal.send(None)] == [0.5]
    assert "it is called again in 2 s" in caplog.text
    assert signal.disconnect(hear)


def test_a_receiver_that_is_gone_leaves_an_unconnected_signal(signal: Signal) -> None:
    ear = Ear()
    signal.connect(ear.hear, sender="a")
    signal.connect(ear.hear, dispatch_uid="it")
    del ear
    gc.collect()
    assert not signal
    assert signal.send("a") == []


def test_a_sender_that_is_gone_leaves_an_unconnected_signal(signal: Signal, ear: Ear) -> None:
    sender = Ear()
    signal.connect(ear.hear, sender=sender)
    assert signal
    del sender
    gc.collect()
    assert not signal


def test_a_sender_without_weak_references_is_kept(signal: Signal, ear: Ear) -> None:
    signal.connect(ear.hear, sender=(sender := (1, 2, len(ear.heard))))
    assert signal.send(sender) == [(ear.hear, "heard")]
    assert signal.send((1, 2, 3)) == []
    assert signal.disconnect(ear.hear, sender=sender)


def test_it_is_a_signal_of_blinker(signal: Signal) -> None:
    assert isinstance(signal, blinker.NamedSignal)
    assert isinstance(signals.namespace, blinker.Namespace)
    assert signals.namespace["task_failure"] is signals.namespace.signal("task_failure") is signals.task_failure


def test_blinkers_connected_to(signal: Signal, ear: Ear) -> None:
    with signal.connected_to(ear.hear):
        signal.send("anybody")
    signal.send("anybody")
    assert len(ear.heard) == 1
    signal.connect(ear.hear, sender="b")
    with signal.connected_to(ear.hear, sender="a"):
        assert len(signal.send("a")) == len(signal.send("b")) == 1
    assert len(signal.send("a")) == 0
    assert len(signal.send("b")) == 1


@pytest.mark.parametrize("sender", ["a.add", Task("a.add"), Ear()])
def test_blinkers_connect_via(signal: Signal, sender: Any) -> None:
    @signal.connect_via(sender)
    def hear(**_: Any) -> str:
        return "heard"

    del hear
    gc.collect()
    assert [answer for _, answer in signal.send(sender)] == ["heard"]
    assert signal.send(Ear()) == []


def test_blinkers_questions_about_receivers(signal: Signal, ear: Ear) -> None:
    assert not signal.receivers
    assert not signal.has_receivers_for("a.add")
    signal.connect(ear.hear, sender=Task("a.add"))
    first = [ear.hear]
    assert signal.receivers
    assert signal.has_receivers_for("a.add")
    assert not signal.has_receivers_for("b")
    assert not signal.has_receivers_for(blinker.ANY)
    assert [*signal.receivers_for("a.add")] == [*signal.receivers_for(Task("a.add"))] == first
    assert [*signal.receivers_for(blinker.ANY)] == [*signal.receivers_for(None)] == []
    other = Ear()
    signal.connect(other.hear, blinker.ANY)
    assert signal.has_receivers_for("b")
    assert [*signal.receivers_for("a.add")] == [ear.hear, other.hear]
    assert [*signal.receivers_for(blinker.ANY)] == [other.hear]
    assert signal.disconnect(other.hear, blinker.ANY)
    assert [*signal.receivers_for(blinker.ANY)] == []


def test_a_signal_that_blinker_mutes_calls_nobody(signal: Signal, ear: Ear) -> None:
    signal.connect(ear.hear)
    with signal.muted():
        assert signal.send("a") == []
    assert len(signal.send("a")) == 1


def test_an_unconnected_signal_is_false(signal: Signal) -> None:
    assert not signal
    assert repr(signal) == "<Signal: test_signal providing_args={'number'}>"


@pytest.mark.parametrize(
    "name",
    [
        "before_task_publish", "after_task_publish", "task_received", "task_prerun", "task_postrun", "task_success",
        "task_failure", "task_retry", "task_revoked", "task_unknown", "task_rejected", "worker_init",
        "worker_process_init", "worker_process_shutdown", "worker_ready", "worker_shutting_down", "worker_shutdown",
        "setup_logging", "after_setup_logger", "after_setup_task_logger", "import_modules",
    ],
)  # fmt: skip
def test_celerys_signals(name: str) -> None:
    assert getattr(signals, name).name == name


def test_a_signal_that_is_never_sent_says_so_when_it_is_connected() -> None:
    with pytest.warns(LavoroWarning, match="task_sent is never sent: Celery does not send it either") as warned:
        signals.task_sent.connect(lambda **_: None)
    assert warned[0].filename == __file__
    with pytest.warns(LavoroWarning, match="eventlet_pool_apply is never sent"):

        @signals.eventlet_pool_apply.connect
        def receive(**_: Any) -> None: ...
