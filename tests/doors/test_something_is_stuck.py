"""The guide "Something is stuck" leads from each symptom to its cause and repair: each fault is made, then followed."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg
import pytest

from lavoro import Lavoro
from lavoro.canvas import chord
from lavoro.protocol.ids import task_uuid
from tests import copies
from tests.conftest import Eventually

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/production/something-is-stuck.md"

SHOP = """
import os, signal, time
from pathlib import Path
from lavoro import Lavoro

app = Lavoro("shop", lavoro_lease=8.0)

def wait_until_mended():
    while not Path("mended").exists():
        time.sleep(0.05)

@app.task
def add(x=1, y=2):
    return x + y

@app.task
def gather(results):
    return sum(results)

@app.task
def hang():
    time.sleep(3600)

@app.task
def hold():
    wait_until_mended()

@app.task(time_limit=1)
def slow():
    wait_until_mended()

@app.task
def total():
    if not Path("mended").exists():
        raise KeyError("total")

@app.task
def crash():
    if not Path("mended").exists():
        os.kill(os.getpid(), signal.SIGKILL)

@app.task(bind=True)
def post(self):
    raise self.retry(exc=ConnectionError("no route to mail"), countdown=3600)
"""


class Block(NamedTuple):
    """A block of the page."""

    language: str
    lines: list[str]


class Section(NamedTuple):
    """A heading, with its blocks and those of the section above it."""

    title: str
    level: int
    blocks: list[Block]
    above: list[Block]


def sections() -> list[Section]:
    """Return the page's sections in order."""
    found: list[Section] = []
    above: list[Block] = []
    for part in re.split(r"^(?=##+ )", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        head, _, text = part.partition("\n")
        blocks = [
            Block(each[1], each[2].splitlines()) for each in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)
        ]
        level = head.count("#")
        above = blocks if level == 2 else above
        found.append(Section(head.strip("# "), level, blocks, above if level > 2 else []))
    return found


class Site:
    """A shop with workers, whose operator types what the page says."""

    def __init__(self, folder: Path, url: str, eventually: Eventually, stack: ExitStack) -> None:
        self.folder, self.url, self.eventually, self._stack = folder, url, eventually, stack
        self.app = stack.enter_context(Lavoro("shop", broker=url, set_as_current=False))
        self.variables = {"LAVORO_APP": "shop", "LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        self.workers: list[copies.Process] = []
        (folder / "shop.py").write_text(SHOP)

    def worker(self, name: str = "one", pool: str = "threads", slots: int = 2, more: str = "") -> int:
        """Start a worker and wait until it lives; return its pid."""
        return self._start(["worker", "-n", f"{name}@%h", "-P", pool, "-c", str(slots), *shlex.split(more)])

    def _start(self, words: list[str]) -> int:
        log = self._stack.enter_context((self.folder / f"worker-{len(self.workers)}.log").open("wb"))
        lives = "select count(*) from lavoro.worker where stopped_at is null and expires_at > now()"
        before = self.sql(lives)[0][0]
        process = copies.start("lavoro", *words, environment=self._environment(), folder=self.folder, output=log)
        self._stack.callback(process.wait, 60)
        self._stack.callback(process.terminate)
        self.workers.append(process)
        self.eventually(lambda: self.sql(lives)[0][0] > before, why="the worker lives")
        return process.pid

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAVORO_", "COLUMNS"))}
        return {**kept, **self.variables}

    def type(self, line: str) -> str:
        """Run a line of the page; return what it prints. A worker goes on in the background."""
        words = [re.sub(r"\$(\w+)", lambda name: self.variables[name[1]], word) for word in shlex.split(line)]
        assert words[0] == "lavoro", line
        if words[1] == "worker":
            self._start(words[1:])
            return ""
        done = copies.run(*words, environment=self._environment(), folder=self.folder)
        return done.stdout + done.stderr

    def send(self, name: str, **options: Any) -> str:
        """Send a task, whose id is then ``$ID``."""
        self.variables["ID"] = str(self.app.send_task(f"shop.{name}", **options).id)
        return self.variables["ID"]

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            done = connection.execute(statement.encode(), values)
            return done.fetchall() if done.description else []

    def session(self) -> psycopg.Connection[Any]:
        """Open a session of somebody else's."""
        session = psycopg.connect(self.url, application_name="report")
        self._stack.callback(session.close)
        return session

    def mend(self) -> None:
        """Repair the cause outside of Lavoro."""
        (self.folder / "mended").touch()

    def stage(self, id: str = "") -> tuple[str, str] | None:
        """Return the stage and the state of a task."""
        query = "select stage, state from lavoro.tasks where id = %s"
        return next(iter(self.sql(query, task_uuid(id or self.variables["ID"]))), None)

    def ends(self, state: str = "SUCCESS", id: str = "") -> None:
        """Wait until the task has ended so."""
        self.eventually(lambda: self.stage(id) == ("finished", state), why=f"the task ends as {state}")

    def begins(self, id: str = "") -> None:
        self.eventually(lambda: (self.stage(id) or ("",))[0] == "running", why="it has begun")


Ends = Callable[[], None]
FAULTS: dict[str, Callable[[Site], Ends]] = {}
"""Each makes a fault, and returns the check that its repair has worked."""


def fault(title: str) -> Callable[[Callable[[Site], Ends]], Callable[[Site], Ends]]:
    def register(make: Callable[[Site], Ends]) -> Callable[[Site], Ends]:
        FAULTS[title] = make
        return make

    return register


@fault("No worker lives")
def no_worker(site: Site) -> Ends:
    site.send("add")
    return site.ends


@fault("A session locks a table")
def lock(site: Site) -> Ends:
    site.worker()
    site.send("add", countdown=1)
    holder = site.session()
    holder.execute("lock table lavoro.waiting in access exclusive mode")
    return site.ends


@fault("A queue is paused")
def paused(site: Site) -> Ends:
    site.worker()
    site.type("lavoro queue pause celery")
    site.send("add")
    return site.ends


@fault("No worker serves the queue")
def unserved(site: Site) -> Ends:
    site.worker()
    site.send("add", queue="mail")
    return site.ends


@fault("The workers are quiet")
def quiet(site: Site) -> Ends:
    site.worker()
    site.type("lavoro control quiet")
    site.send("add")
    return site.ends


@fault("All slots are taken")
def full(site: Site) -> Ends:
    site.worker()
    held = [site.send("hold") for _ in range(2)]
    for id in held:
        site.begins(id)
    site.send("add")

    def ends() -> None:
        site.ends()
        assert [site.stage(id) for id in held] == [("running", "STARTED")] * 2
        site.mend()

    return ends


@fault("No worker has the task")
def unknown(site: Site) -> Ends:
    site.worker()
    site.send("ad")

    def ends() -> None:
        assert site.stage() is None

    return ends


@fault("The task is for later")
def later(site: Site) -> Ends:
    site.worker()
    site.send("add", countdown=3600)
    return site.ends


@fault("One task hangs")
def hanging(site: Site) -> Ends:
    site.worker(pool="prefork")
    site.send("hang")
    site.begins()
    return lambda: site.ends("REVOKED")


@fault("Tasks fail")
def failing(site: Site) -> Ends:
    site.worker()
    site.send("total")
    site.ends("FAILURE")
    site.mend()
    return site.ends


@fault("A task ran out of time")
def out_of_time(site: Site) -> Ends:
    site.worker(pool="prefork", slots=1)
    site.send("slow")
    site.ends("FAILURE")
    site.mend()
    return site.ends


@fault("A process ends under its task")
def crashing(site: Site) -> Ends:
    site.worker(pool="prefork", slots=1)
    site.send("crash")
    site.ends("FAILURE")
    site.mend()
    return site.ends


@fault("It retries")
def retrying(site: Site) -> Ends:
    site.worker()
    site.send("post")
    return lambda: site.ends("REVOKED")


@fault("It is paused")
def paused_schedule(site: Site) -> Ends:
    site.worker()
    site.type("lavoro schedule add nightly '@every 1s' shop.add")
    site.eventually(lambda: site.sql("select 1 from lavoro.tasks where name = 'shop.add'"), why="a tick has come")
    site.type("lavoro schedule pause nightly")
    site.eventually(lambda: not site.sql("select 1 from lavoro.waiting"), why="the ticks have ended")
    site.sql("delete from lavoro.finished")

    def ends() -> None:
        site.eventually(lambda: site.sql("select 1 from lavoro.tasks where name = 'shop.add'"), why="a tick comes")

    return ends


@fault("Its task is unknown, or nothing sends it")
def unknown_task_of_a_schedule(site: Site) -> Ends:
    site.worker()
    site.type("lavoro schedule add nightly @daily shop.ad")

    def ends() -> None:
        assert "schedule" not in site.type("lavoro doctor")

    return ends


def chord_with(site: Site, queue: str) -> str:
    members = [site.app.signature("shop.add", (1, 1)), site.app.signature("shop.add", (1, 2), queue=queue)]
    body = chord(members, app=site.app)(site.app.signature("shop.gather"))
    site.variables["ID"] = body.id
    return str(body.id)


@fault("A member has not ended")
def unserved_member(site: Site) -> Ends:
    site.worker()
    chord_with(site, "mail")
    [[member]] = site.sql("select id from lavoro.waiting where queue = 'mail'")
    site.variables["MEMBER"] = str(member)
    return site.ends


@fault("A member does not exist")
def lost_member(site: Site) -> Ends:
    site.worker()
    chord_with(site, "mail")
    site.sql("delete from lavoro.waiting where queue = 'mail'")
    return lambda: site.ends("REVOKED")


@fault("A node is lost")
def lost_node(site: Site) -> Ends:
    pid = site.worker()
    site.send("hold")
    site.begins()
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        process.send_signal(signal.SIGKILL)
    site.mend()

    def ends() -> None:
        site.ends()
        assert "LOST" in site.type("lavoro task show $ID")

    return ends


@fault("The database is slow or full")
def snapshot(site: Site) -> Ends:
    holder = site.session()
    holder.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    holder.execute("select count(*) from lavoro.finished")

    def ends() -> None:
        site.sql(f"select pg_terminate_backend({holder.info.backend_pid})")
        site.eventually(lambda: "report" not in site.type("lavoro db"), why="the session is gone")

    return ends


def told(line: str) -> str:
    """Return a line without what differs from run to run."""
    line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", line)
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", line.replace(socket.gethostname().split(".")[0], "here"))
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.,]*", "N", line)).strip()


def follow(site: Site, section: Section) -> None:
    """Type the section's commands; each output that it shows must come."""
    steps = section.blocks
    if steps[0].language == "text":  # the command is that of the section above
        steps = [*[block for block in section.above if block.language == "sh"][:1], *steps]
    for block, next_one in zip(steps, [*steps[1:], None], strict=True):
        if block.language != "sh":
            continue
        shown = next_one.lines if next_one is not None and next_one.language == "text" else []
        seen = [""]

        def is_told(block: Block = block, shown: list[str] = shown, seen: list[str] = seen) -> bool:
            seen[0] = "\n".join(site.type(line) for line in block.lines)
            lines = [told(line) for line in seen[0].splitlines()]
            return all(any(told(line) in real for real in lines) for line in shown)

        try:
            site.eventually(is_told, timeout=30, why="the output that the page shows")
        except pytest.fail.Exception:
            pytest.fail("\n".join([*block.lines, "prints", seen[0], "but the page says", *shown]), pytrace=False)
        for repair in re.findall(r"^ +(select pg_terminate_backend\(\d+\));", seen[0], re.MULTILINE):
            site.sql(repair)


FOLLOWED = [section for section in sections() if section.title in FAULTS]


@pytest.mark.parametrize("section", FOLLOWED, ids=[section.title.replace(" ", "_") for section in FOLLOWED])
def test_the_page_leads_to_the_cause_and_the_repair(
    section: Section, tmp_path: Path, migrated_url: str, eventually: Eventually
) -> None:
    with ExitStack() as stack:
        site = Site(tmp_path, migrated_url, eventually, stack)
        stack.callback(site.mend)
        ends = FAULTS[section.title](site)
        follow(site, section)
        ends()


def test_every_section_with_a_repair_is_followed() -> None:
    with_repair = {each.title for each in sections() if each.blocks and each.blocks[-1].language == "sh"}
    only_asked = {"One queue grows", "One task does not start", "Tasks repeat", "A schedule does not come"}
    assert with_repair - only_asked - {"A chord never ends"} <= FAULTS.keys()
    assert {section.title for section in FOLLOWED} == FAULTS.keys()
