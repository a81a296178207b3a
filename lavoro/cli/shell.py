"""``lavoro shell``: start Python with the application and its tasks at hand."""

from __future__ import annotations

import code
from importlib import import_module
from typing import Any

import click

import lavoro
from lavoro.app import Lavoro
from lavoro.cli.common import load_app, load_tasks
from lavoro.cli.options import APP_OPTION, refused

_GEVENT = "start it as python -m gevent.monkey -m lavoro shell: sockets have to be patched before all else"


@click.command(short_help="Start Python with the application.")
@APP_OPTION
@click.option("-I", "--ipython", "kind", flag_value="IPython", help="IPython, which has to be installed.")
@click.option("-B", "--bpython", "kind", flag_value="bpython", help="bpython, which has to be installed.")
@click.option("-P", "--python", "kind", flag_value="code", default=True, help="Python's own; the default.")
@click.option("-T", "--without-tasks", is_flag=True, help="Without the tasks.")
@refused("--eventlet", why="there is no eventlet pool", flag=True)
@refused("--gevent", why=_GEVENT, flag=True)
@click.pass_context
def shell(context: click.Context, app: str | None, kind: str, without_tasks: bool) -> None:
    """Start Python with the application as `app`, its tasks by their functions' names, and chain, chord, group."""
    found = load_app(context, app)
    load_tasks(found)
    names = names_of(found, with_tasks=not without_tasks)
    try:
        module = import_module(kind)
    except ImportError:
        raise click.ClickException(
            f"{kind} is not installed: pip install {kind.lower()}, or leave the option out"
        ) from None
    if kind == "IPython":
        module.start_ipython(argv=[], user_ns=names)
    elif kind == "bpython":
        module.embed(names)
    else:
        _complete(names)
        code.interact(banner=f"Lavoro {lavoro.__version__}, {found!r} is `app`", local=names, exitmsg="")


def names_of(app: Lavoro, *, with_tasks: bool) -> dict[str, Any]:
    """Return the variables of the shell: Celery's, and the tasks by the names of their functions."""
    parts = ("Task", "chord", "group", "chain", "chunks", "xmap", "xstarmap", "subtask", "signature")
    tasks = {
        task.name.rpartition(".")[2]: task
        for task in app.tasks.values()
        if with_tasks and not task.name.startswith("celery.")
    }
    return {**tasks, "app": app, "lavoro": app, "celery": app, **{part: getattr(lavoro, part) for part in parts}}


def _complete(names: dict[str, Any]) -> None:
    """Let the tabulator key complete names, where Python has been built with readline."""
    try:
        readline, rlcompleter = import_module("readline"), import_module("rlcompleter")
    except ImportError:
        return
    readline.set_completer(rlcompleter.Completer(names).complete)
    readline.parse_and_bind("tab: complete")
