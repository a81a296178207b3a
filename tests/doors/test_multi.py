"""``lavoro multi``: the nodes are those of Celery's command line, and real workers start, restart and end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from lavoro.cli.multi.nodes import Node, Words, nodes_of
from tests.conftest import Eventually

ROOT = Path(__file__).parents[2]
HOST = socket.gethostname()
Multi = Callable[..., subprocess.CompletedProcess[str]]


def nodes(line: str) -> list[Node]:
    return nodes_of(Words.of(shlex.split(line)))


def options(line: str) -> dict[str, str]:
    """The options of each node, as they are typed, without the files."""
    before, hyphens, after = line.partition(" -- ")
    named = nodes(f"{before} --pidfile=x --logfile=y{hyphens}{after}")
    return {
        node.name: shlex.join(each for each in node.arguments[5:] if each not in ("--pidfile=x", "--logfile=y"))
        for node in named
    }


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("one", {f"one@{HOST}": f"-n one@{HOST}"}),
        ("2 -c 3", {f"celery{n}@{HOST}": f"-n celery{n}@{HOST} -c 3" for n in (1, 2)}),
        ("2 --range-prefix=w", {f"w{n}@{HOST}": f"-n w{n}@{HOST}" for n in (1, 2)}),
        ("one two --hostname=example.com", {f"{n}@example.com": f"-n {n}@example.com" for n in ("one", "two")}),
        ("one@%h two@b", {f"one@{HOST}": f"-n one@{HOST}", "two@b": "-n two@b"}),
        ("one --prefix=shop-", {f"shop-one@{HOST}": f"-n shop-one@{HOST}"}),
        (
            "3 --hostname=h -c 3 -c:1 10",
            {"celery1@h": "-n celery1@h -c 10", "celery2@h": "-n celery2@h -c 3", "celery3@h": "-n celery3@h -c 3"},
        ),
        ("a b --hostname=h -c 3 -c:b 10", {"a@h": "-n a@h -c 3", "b@h": "-n b@h -c 10"}),
        ("a b --hostname=h -c 3 -c:2 10", {"a@h": "-n a@h -c 3", "b@h": "-n b@h -c 10"}),
        ("a b c --hostname=h -c:a,3 9", {"a@h": "-n a@h -c 9", "b@h": "-n b@h", "c@h": "-n c@h -c 9"}),
        (
            "4 --hostname=h -Q:1-2 images,video -Q:3 data -Q default",
            {
                "celery1@h": "-n celery1@h -Q images,video", "celery2@h": "-n celery2@h -Q images,video",
                "celery3@h": "-n celery3@h -Q data", "celery4@h": "-n celery4@h -Q default",
            },
        ),
        ("a --hostname=h -E --loglevel=INFO -- x.y=1", {"a@h": "-n a@h -E --loglevel=INFO -- x.y=1"}),
    ],
)  # fmt: skip
def test_nodes_and_their_options(line: str, wanted: dict[str, str]) -> None:
    assert options(line) == wanted


def test_parts_of_names_in_values() -> None:
    [node] = nodes("a@h.example --pidfile=~/%n-%d.pid --logfile=%h%I.log")
    assert node.pidfile == str(Path("~/a-h.example.pid").expanduser())
    assert node.logfile == "a@h.example.log"
    assert "--logfile=a@h.example%I.log" in node.arguments
    assert node.expand("%n %d %h %N %%") == "a h.example a@h.example a %"


def test_the_command_and_the_interpreter() -> None:
    [node] = nodes("a --executable=/bin/py --cmd='-m shop worker' --append=--purge")
    assert node.arguments[:4] == ["/bin/py", "-m", "shop", "worker"]
    assert node.arguments[-1] == "--purge"
    [node] = nodes("a")
    assert node.arguments[:5] == [sys.executable, "-m", "lavoro", "worker", "--detach"]
    assert {"--pidfile=/var/run/lavoro/a.pid", "--logfile=/var/log/lavoro/a%I.log"} <= {*node.arguments}


@pytest.mark.parametrize(
    ("line", "number"),
    [("a -9", signal.SIGKILL), ("a -QUIT", signal.SIGQUIT), ("a -SIGINT", signal.SIGINT), ("a -E", None)],
)
def test_signals(line: str, number: signal.Signals | None) -> None:
    assert Words.of(line.split()).signal == number


@pytest.mark.parametrize(
    ("line", "words"),
    [("", "name the nodes"), ("a b -c:3 1", "node 3, and there are 2"), ("a -99", "-99 is no signal")],
)
def test_wrong_command_lines(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        nodes(line)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text("from lavoro import Lavoro\napp = Lavoro('shop')\n")
    return tmp_path


@pytest.fixture
def multi(folder: Path, migrated_url: str) -> Iterator[Multi]:
    """The command, with the files in the folder; all workers that it has started end with the test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
    environment |= {"PYTHONPATH": str(ROOT), "LAVORO_DATABASE_URL": migrated_url}
    started: set[int] = set()

    def multi(line: str, *, files: str = " --pidfile=%n.pid --logfile=%n%I.log") -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "lavoro", *shlex.split(f"{line}{files}")]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
        started.update(int(each.read_text()) for each in folder.glob("*.pid"))
        return done

    yield multi
    for pid in started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def living(url: str) -> list[tuple[str, int, list[str]]]:
    with psycopg.connect(url) as db:
        query = "select node, slots, queues from lavoro.worker where stopped_at is null and expires_at > now()"
        return sorted(db.execute(query.encode()).fetchall())


def test_workers_start_restart_and_end(folder: Path, migrated_url: str, multi: Multi, eventually: Eventually) -> None:
    line = "2 --hostname=h -P threads -c 1 -c:2 3 -Q:2 mail"
    done = multi(f"-A shop multi start {line}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:] == ["> Starting nodes...", "\t> celery1@h: OK", "\t> celery2@h: OK"]
    both = [("celery1@h", 1, ["celery"]), ("celery2@h", 3, ["mail"])]
    eventually(lambda: living(migrated_url) == both, why="both live")
    assert sorted(each.name for each in folder.glob("*.log")) == ["celery1.log", "celery2.log"]
    before = {each.name: each.read_text() for each in folder.glob("*.pid")}
    assert sorted(before) == ["celery1.pid", "celery2.pid"]

    again = multi(f"-A shop multi start {line}")
    assert again.returncode == 1
    assert again.stdout.count("FAILED") == 2
    assert "is this worker started already?" in again.stderr

    done = multi(f"-A shop multi restart {line} -INT")
    assert done.returncode == 0
    assert done.stdout.count("INT -> ") == 2
    assert len(re.findall(r"^> Restarting node celery[12]@h: OK$", done.stdout, re.MULTILINE)) == 2
    after = {each.name: each.read_text() for each in folder.glob("*.pid")}
    assert sorted(after) == sorted(before)
    assert not {*after.values()} & {*before.values()}
    eventually(lambda: living(migrated_url) == both, why="both live again")

    done = multi("multi stopwait 2 --hostname=h")
    assert done.returncode == 0
    assert re.search(r"^> Waiting for 2 nodes -> \d+, \d+\.\.\.$", done.stdout, re.MULTILINE)
    assert done.stdout.count(": OK") == 2
    assert list(folder.glob("*.pid")) == []
    assert living(migrated_url) == []
    assert multi("multi stop 2 --hostname=h").stdout.count("> celery1@h: DOWN") == 1


def test_killed_nodes_start_again(folder: Path, migrated_url: str, multi: Multi, eventually: Eventually) -> None:
    """Their pidfiles stay, and name no process that lives."""
    assert multi("multi start one -A shop -P solo").returncode == 0
    eventually(lambda: living(migrated_url), why="it lives")
    pid = int((folder / "one.pid").read_text())
    done = multi("multi kill one")
    assert done.stdout.splitlines()[1:] == [f"Sending KILL to node one@{HOST} ({pid})"]
    eventually(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text(), why="it ends")
    assert multi("multi start one -A shop -P solo").returncode == 0
    assert int((folder / "one.pid").read_text()) != pid
    assert multi("multi stopwait one").returncode == 0


def test_a_node_that_cannot_start(folder: Path, multi: Multi) -> None:
    done = multi("multi start one -A shop --concurrency=many")
    assert done.returncode == 1
    assert f"\t> one@{HOST}: FAILED" in done.stdout
    assert "must be a whole number" in done.stderr


def test_beat_in_the_background(folder: Path, multi: Multi, eventually: Eventually) -> None:
    line = "beat -A shop --detach -l info --pidfile=beat.pid --logfile=beat.log"
    assert multi(line, files="").returncode == 0
    pid = int((folder / "beat.pid").read_text())
    assert f"'beat.pid' names process {pid}, which lives" in multi(line, files="").stderr
    eventually(lambda: "ready" in (folder / "beat.log").read_text(), why="it is ready")
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not (folder / "beat.pid").exists(), why="it ends")


def test_what_is_shown(multi: Multi) -> None:
    assert multi("multi names one two").stdout.splitlines() == [f"one@{HOST}", f"two@{HOST}"]
    assert multi("multi expand '%n at %d' 2 --hostname=h", files="").stdout.splitlines() == [
        "celery1 at h",
        "celery2 at h",
    ]
    shown = multi("-A shop multi show 1 --hostname=h -c 3").stdout.strip()
    files = "--pidfile=celery1.pid --logfile=celery1%I.log"
    assert shown == f"{sys.executable} -m lavoro worker --detach -n celery1@h -c 3 {files} --app=shop"
    assert multi("-A shop multi get celery1@h 1 --hostname=h -c 3").stdout.strip() == shown
    missing = multi("multi get celery9@h 1 --hostname=h")
    assert (missing.returncode, "there is no node 'celery9@h': there are celery1@h" in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("multi", 1, "name a verb"),
        ("multi strat one", 1, "did you mean 'start'?"),
        ("multi start", 2, "name the nodes, or their number"),
        ("multi start one --pidfile=/dev/null/x.pid", 1, "--pidfile: '/dev/null/x.pid' cannot be made"),
    ],
)
def test_refusals(multi: Multi, line: str, code: int, words: str) -> None:
    done = multi(line, files="")
    assert done.returncode == code
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_help(multi: Multi) -> None:
    for line in ("multi help", "multi --help"):
        assert "stopwait NAMES|NUMBER" in multi(line, files="").stdout
