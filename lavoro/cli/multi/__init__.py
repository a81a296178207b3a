"""``lavoro multi``: start, stop and restart several workers of this machine in the background, as Celery's does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence

import click

import lavoro
from lavoro.cli.exits import Exit, Failure
from lavoro.cli.multi import processes
from lavoro.cli.multi.nodes import Node, Words, nodes_of
from lavoro.cli.output import say
from lavoro.config import spelling

USAGE = """\
lavoro multi start NAMES|NUMBER [options of worker]
lavoro multi stop NAMES|NUMBER [-SIGNAL]          TERM, or another signal; does not wait
lavoro multi stopwait NAMES|NUMBER [-SIGNAL]      the same, and waits until they have ended
lavoro multi restart NAMES|NUMBER [-SIGNAL] [options of worker]
lavoro multi kill NAMES|NUMBER
lavoro multi show NAMES|NUMBER [options of worker]
lavoro multi names NAMES|NUMBER
lavoro multi get NODE NAMES|NUMBER [options of worker]
lavoro multi expand TEXT NAMES|NUMBER

NUMBER stands for so many nodes: 3 is celery1, celery2 and celery3. An option with a colon is for some nodes only:
-c:1 10, -Q:1-3 images,video (with a number), -c:one,two 4. In values %n is the node's first part, %d its host, %h all.
Give the same --pidfile to start and stop: by default /var/run/lavoro/%n.pid, with --logfile=/var/log/lavoro/%n%I.log.
--hostname, --prefix, --suffix and --range-prefix make the names; --executable is the interpreter, --cmd the command.
"""


class _Multi(click.Command):
    """A command whose help has the verbs."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs instead of options, which are those of ``worker``."""
        super().format_options(context, formatter)
        formatter.write(f"\n{USAGE}")


@click.command(
    cls=_Multi,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Start and stop several workers in the background.",
)
@click.argument("words", metavar="VERB NAMES|NUMBER [OPTIONS]", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def multi(context: click.Context, words: tuple[str, ...]) -> None:
    """Start, stop and restart several workers of this machine in the background; a service manager does it better.

    It keeps nothing: give restart and stop the options of start, at least the pidfile.
    """
    said = [word for word in words if word not in ("--nosplash", "--quiet", "-q", "--verbose", "--no-color")]
    if not said or said[0].startswith("-"):
        raise Failure("name a verb: lavoro multi start|stop|stopwait|restart|kill|show|names|get|expand")
    verb, *rest = said
    if verb == "help":
        say(USAGE.rstrip())
        return
    verb = "stopwait" if verb == "stop_verify" else verb
    if verb not in _VERBS:
        near = spelling.nearest(verb, frozenset(_VERBS))
        raise Failure(f"there is no verb {verb!r} of multi{f': did you mean {near!r}?' if near else ''}")
    tell = (lambda text: None) if {"--quiet", "-q"} & {*words} else say
    first = rest.pop(0) if verb in ("get", "expand") and rest else ""
    try:
        parsed = Words.of([*rest, *_application(context, rest)])
        nodes = nodes_of(parsed)
    except ValueError as error:
        raise click.UsageError(str(error), context) from None
    if verb in ("start", "stop", "stopwait", "restart", "kill") and "--nosplash" not in words:
        tell(f"lavoro multi v{lavoro.__version__}")
    context.exit(_VERBS[verb](_Order(nodes, parsed, first, tell)))


class _Order:
    """All that a verb may want."""

    def __init__(self, nodes: Sequence[Node], words: Words, first: str, tell: Callable[[str], None]) -> None:
        self.nodes, self.words, self.first, self.tell = nodes, words, first, tell

    @property
    def signal(self) -> signal.Signals:
        """The signal that was named, as -9 or -QUIT; else TERM."""
        return self.words.signal or signal.SIGTERM


def _application(context: click.Context, words: Sequence[str]) -> list[str]:
    """Return the application that stands before the verb, as an option of the workers."""
    given = any(word in ("-A", "--app") or word.startswith("--app=") for word in words)
    return [] if given or not isinstance(context.obj, str) else [f"--app={context.obj}"]


def _start(order: _Order) -> int:
    order.tell("> Starting nodes...")
    codes = [_started(order, node) for node in order.nodes]
    return int(any(codes))


def _started(order: _Order, node: Node, how: str = "\t> ") -> int:
    code = processes.start(node)
    order.tell(f"{how}{node.name}: {'FAILED' if code else 'OK'}")
    if code:
        order.tell(f"* Child terminated with exit code {code}: see {node.logfile}")
    return code


def _stop(order: _Order) -> int:
    _signalled(order)
    return Exit.DONE


def _signalled(order: _Order) -> list[Node]:
    """Signal the nodes that live; return them."""
    order.tell("> Stopping nodes...")
    living = []
    for node in order.nodes:
        pid = processes.pid_of(node)
        if pid is not None and processes.send(pid, order.signal):
            order.tell(f"\t> {node.name}: {order.signal.name.removeprefix('SIG')} -> {pid}")
            living.append(node)
        else:
            order.tell(f"> {node.name}: DOWN")
    return living


def _stopwait(order: _Order) -> int:
    for node in processes.ended(_signalled(order), waiting=_waiting(order)):
        order.tell(f"\t> {node.name}: OK")
    return Exit.DONE


def _waiting(order: _Order) -> Callable[[Sequence[int]], None]:
    def tell(pids: Sequence[int]) -> None:
        order.tell(f"> Waiting for {len(pids)} node{'s' * (len(pids) != 1)} -> {', '.join(map(str, pids))}...")

    return tell


def _restart(order: _Order) -> int:
    living = _signalled(order)
    codes = [_started(order, node, "> Restarting node ") for node in order.nodes if node not in living]
    for node in processes.ended(living, waiting=_waiting(order)):
        codes.append(_started(order, node, "> Restarting node "))
    return int(any(codes))


def _kill(order: _Order) -> int:
    for node in order.nodes:
        pid = processes.pid_of(node)
        if pid is not None and processes.send(pid, signal.SIGKILL):
            order.tell(f"Sending KILL to node {node.name} ({pid})")
        else:
            order.tell(f"> {node.name}: DOWN")
    return Exit.DONE


def _show(order: _Order) -> int:
    for node in order.nodes:
        say(node.shown)
    return Exit.DONE


def _names(order: _Order) -> int:
    for node in order.nodes:
        say(node.name)
    return Exit.DONE


def _get(order: _Order) -> int:
    found = [node for node in order.nodes if node.name == order.first]
    if not found:
        raise Failure(f"there is no node {order.first!r}: there are {', '.join(node.name for node in order.nodes)}")
    say(found[0].shown)
    return Exit.DONE


def _expand(order: _Order) -> int:
    for node in order.nodes:
        say(node.expand(order.first))
    return Exit.DONE


_VERBS: Mapping[str, Callable[[_Order], int]] = {
    "start": _start, "stop": _stop, "stopwait": _stopwait, "restart": _restart, "kill": _kill, "show": _show,
    "names": _names, "get": _get, "expand": _expand,
}  # fmt: skip
