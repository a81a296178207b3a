"""The command line: one line that says what, which and what to do, an exit code, and never a traceback."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from lavoro import Lavoro, __version__
from lavoro.cli import main
from lavoro.store import queues, workers
from lavoro.store.database import Database
from lavoro.store.url import masked
from lavoro.store.workers import Registration
from tests import copies
from tests.doors.terminal import at_terminal
from tests.postgres import Cluster

ROOT = Path(__file__).parents[2]
NOWHERE = "postgresql://postgres@127.0.0.1:1/nowhere"

APPS = {
    "shop": "from lavoro import Lavoro\napp = Lavoro('shop')\n@app.task\ndef add(x, y): return x + y\n",
    "hasty": "from lavoro import Lavoro\napp = Lavoro('hasty', broker_connection_retry=False)\n",
    "strict": (
        "from lavoro import Lavoro\n"
        "app = Lavoro('strict', task_queues=['mail', 'video'], task_create_missing_queues=False)\n"
    ),
    "broken": "import os\n\nvalue = 1 / 0\n",
    "lacking": "import a_module_that_is_nowhere\n",
    "mistyped": "def f(:\n",
    "leaving": "import sys\nsys.exit('not today')\n",
    "empty": "x = 1\n",
    "idle": "from lavoro import Lavoro\napp = Lavoro('idle')\n",
    "twins": (
        "from lavoro import Lavoro\nfirst = Lavoro('first')\nsecond = Lavoro('second')\nagain = first\n"
        "@first.task\ndef add(x, y): return x + y\n"
    ),
    "odd": "from lavoro import Lavoro\napp = Lavoro('odd', worker_pool='eventlet')\n",
    "including": "from lavoro import Lavoro\napp = Lavoro('including', include=['nosuch.tasks'])\n",
    "misnamed": "from lavoro import Lavoro\napp = Lavoro('misnamed', lavoro_middleware=['shop.Tenant'])\n",
    "on_redis": "from lavoro import Lavoro\napp = Lavoro('on_redis', broker='redis://localhost')\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all kinds of modules."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in APPS.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def lavoro(
    folder: Path, *arguments: str, url: str = NOWHERE, data_folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAVORO_")}
    environment |= {"LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    if data_folder is not None:
        environment["LAVORO_DATA_DIR"] = str(data_folder)
    return copies.run("lavoro", *arguments, environment=environment, folder=folder)


def refuses(result: subprocess.CompletedProcess[str], *words: str, code: int = 1) -> None:
    """One line on standard error with these words."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("lavoro: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("missing", ["there is no module 'missing'", "-A", "run the command in the folder that has the module"]),
        ("including", ["there is no module 'nosuch.tasks', which the setting include (or the option -I) names"]),
        ("broken", ["'broken' could not be loaded", "ZeroDivisionError: division by zero", "broken.py, line 3"]),
        ("lacking", ["'lacking' could not be loaded", "No module named 'a_module_that_is_nowhere'", "line 1"]),
        ("mistyped", ["'mistyped' could not be loaded", "SyntaxError", "mistyped.py, line 1"]),
        ("leaving", ["'leaving' could not be loaded", "SystemExit: not today"]),
        ("empty", ["module 'empty' has no Lavoro application", "-A empty:"]),
        ("shop:nothing", ["module 'shop' has no 'nothing': did you mean 'app'?"]),
        ("empty:nothing", ["module 'empty' has no 'nothing'; name a variable or function of it: -A module:app"]),
        ("odd", ["worker_pool must be one of gevent"]),
        ("misnamed", ["the setting lavoro_middleware: 'shop.Tenant' cannot be imported", "no attribute 'Tenant'"]),
        ("on_redis", ["broker_url", "postgresql://"]),
    ],
)
def test_application_that_cannot_be_loaded(folder: Path, module: str, words: list[str]) -> None:
    result = lavoro(folder, "worker", "-A", module, url="" if module == "on_redis" else NOWHERE)
    refuses(result, *words)


def test_traceback_on_request(folder: Path) -> None:
    result = lavoro(folder, "worker", "-A", "broken", "-l", "debug")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("lavoro: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["worker", "-A", "shop", "--colour"], ["No such option", "--colour", "(see lavoro worker --help)"]),
        (["worker", "-A", "shop", "--concurency", "3"], ["Did you mean '--concurrency'? (see lavoro worker --help)"]),
        (["worker"], ["-A"]),
        (["worker", "-A", "shop", "-c", "many"], ["'many'", "-c"]),
        (["worker", "-A", "shop", "-P", "eventlet"], ["'eventlet'", "gevent"]),
        *(
            (["worker", "-A", "shop", option, "/nowhere/at/all"], [option, "'/nowhere/at'", "does not exist: make it"])
            for option in ("--logfile", "--pidfile", "--liveness-file")
        ),
        (["worker", "-A", "shop", "-f", "/etc/passwd/x"], ["-f", "'/etc/passwd' is no folder: name another"]),
        (["worker", "-A", "shop", "-f", "/etc"], ["-f", "'/etc' is a directory"]),
        (["dance"], ["'dance'", "see lavoro --help"]),
    ],
)
def test_wrong_usage(
    arguments: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lavoro", *arguments])
    with pytest.raises(SystemExit) as exit:
        main()
    assert isinstance(exit.value.code, int)
    said = capsys.readouterr()
    refuses(subprocess.CompletedProcess(arguments, exit.value.code, said.out, said.err), *words, code=2)


@pytest.mark.parametrize("option", ["--logfile", "--pidfile"])
def test_file_that_cannot_be_written_after_all(folder: Path, option: str) -> None:
    refuses(
        lavoro(folder, "worker", "-A", "shop", option, "/proc/x"), option, "'/proc/x' cannot be written: No such file"
    )


def test_help(folder: Path) -> None:
    assert "worker" in lavoro(folder).stdout
    shown = lavoro(folder, "worker", "--help")
    assert shown.returncode == 0
    assert "--max-tasks-per-child" in shown.stdout


@pytest.mark.parametrize("verb", ["worker", "migrate", "status"])
def test_no_server(folder: Path, verb: str) -> None:
    refuses(lavoro(folder, verb, "-A", "hasty"), "127.0.0.1:1/nowhere", "refused", "LAVORO_DATABASE_URL")


@pytest.mark.parametrize("verb", ["worker", "status"])
def test_folder_that_cannot_be_used(folder: Path, verb: str) -> None:
    """What cannot get better is not tried again."""
    refuses(
        lavoro(folder, verb, "-A", "shop", url="", data_folder=folder / "shop.py"),
        "shop.py", "LAVORO_DATA_DIR", "LAVORO_DATABASE_URL",
    )  # fmt: skip


def test_wrong_password(folder: Path, cluster: Cluster) -> None:
    result = lavoro(folder, "worker", "-A", "hasty", url=cluster.guarded_url(password="guessed"))
    refuses(result, "password authentication failed", "guarded:***@")
    assert "guessed" not in result.stderr


def test_wrong_database(folder: Path, cluster: Cluster) -> None:
    refuses(lavoro(folder, "worker", "-A", "hasty", url=cluster.url("nothing_here")), 'database "nothing_here"')


@pytest.mark.parametrize("verb", ["worker", "status", "purge"])
def test_missing_schema(folder: Path, database_url: str, verb: str) -> None:
    arguments = ["--force"] if verb == "purge" else []
    refuses(lavoro(folder, verb, "-A", "shop", *arguments, url=database_url), "run `lavoro migrate -A shop`")


@pytest.mark.parametrize("option", ["-Q", "-X"])
def test_unknown_queue(folder: Path, option: str) -> None:
    refuses(lavoro(folder, "worker", "-A", "strict", option, "mail,post"), "'post'", "mail, video", option)


def test_no_queue_left(folder: Path) -> None:
    refuses(lavoro(folder, "worker", "-A", "strict", "-X", "mail,video"), "no queue is left", "-X")


def test_descriptor_that_is_not_open(folder: Path) -> None:
    refuses(lavoro(folder, "worker", "-A", "shop", "--parent-fd", "77"), "--parent-fd", "77")


def test_migrate_and_status(folder: Path, database_url: str) -> None:
    """Exit code 69 says that nobody works, as Celery's."""
    assert "applied 0001" in lavoro(folder, "migrate", "-A", "shop", url=database_url).stdout
    assert "up to date" in lavoro(folder, "migrate", "-A", "shop", url=database_url).stdout
    sent = "import shop; shop.add.delay(1, 2)"
    environment = {**os.environ, "LAVORO_DATABASE_URL": database_url, "PYTHONPATH": str(ROOT)}
    assert copies.run("-c", sent, environment=environment, folder=folder).returncode == 0
    status = lavoro(folder, "status", "-A", "shop", "--json", url=database_url)
    assert status.returncode == 69, status.stderr
    found = json.loads(status.stdout)
    assert found["workers"] == []
    ((queue),) = found["queues"]
    assert (queue["queue"], queue["ready"], queue["running"], queue["served"]) == ("celery", 1, 0, False)
    shown = lavoro(folder, "-A", "shop", "status", url=database_url)
    assert re.search(r"celery\W+1\W.*no worker serves it", shown.stdout)
    assert shown.stdout.startswith(f"database: {masked(database_url)}\n")
    assert shown.stdout.endswith("no live worker\n")
    assert found["database"] == masked(database_url)
    assert "deleted 1 task from celery" in lavoro(folder, "purge", "-A", "shop", "-f", url=database_url).stdout


def test_status_and_purge_of_an_empty_database(folder: Path, migrated_url: str) -> None:
    shown = lavoro(folder, "status", "-A", "shop", url=migrated_url).stdout
    assert shown == f"database: {masked(migrated_url)}\nno tasks wait or run\nno live worker\n"
    asked = lavoro(folder, "purge", "-A", "shop", url=migrated_url)
    assert (asked.returncode, asked.stdout) == (0, "nothing waits on celery\n"), asked.stderr


def test_a_user_without_rights_is_told_which_and_the_worker_ends(folder: Path, migrated_url: str) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute("drop role if exists onlooker")
        connection.execute("create role onlooker login")
        connection.execute("grant usage on schema lavoro to onlooker")
        connection.execute("grant select on lavoro.meta to onlooker")
    url = re.sub(r"//[^@]*@", "//onlooker@", migrated_url)
    command = "`lavoro doctor -A shop --role worker`"
    lacks = "the database user 'onlooker' may not run tasks: it lacks select on table"
    refuses(lavoro(folder, "worker", "-A", "shop", url=url), lacks, "rights more", command)
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute("revoke usage on schema lavoro from onlooker")
    refuses(lavoro(folder, "worker", "-A", "shop", url=url), "permission denied for schema lavoro", command)
    refused = lavoro(folder, "status", "-A", "shop", url=url)
    refuses(refused, "permission denied", f"the database user lacks a right, see {command}")
    assert "does PostgreSQL run there" not in refused.stderr
    told = lavoro(folder, "doctor", "-A", "shop", "--role", "worker", url=url).stdout.splitlines()
    assert len([line for line in told if line.startswith("    ")]) == 1, "one repair for all that it repairs"
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        connection.execute("drop owned by onlooker")
        connection.execute("drop role onlooker")


def test_status_marks_only_what_needs_a_note(folder: Path, migrated_url: str) -> None:
    alive = Registration("one@here", 0, "here", 4711, "solo", 1, ["celery"], "0.1.0", 3600.0)
    with Lavoro("sender", broker=migrated_url, set_as_current=False) as sender:
        sender.send_task("shop.add", (1, 2))
        with sender.database.tx() as tx:
            workers.register(tx, alive)
        assert "note" not in lavoro(folder, "status", "-A", "shop", url=migrated_url).stdout
        queues.pause(sender.database, ["celery"])
        assert re.search(r"note\n.*paused", lavoro(folder, "status", "-A", "shop", url=migrated_url).stdout)


def test_purge_asks_with_a_number(folder: Path, migrated_url: str) -> None:
    tasks = Lavoro("sender", broker=migrated_url, set_as_current=False)
    with tasks:
        tasks.send_task("shop.add", (1, 2))
        tasks.send_task("shop.add", (1, 2), countdown=3600)
    asked = lavoro(folder, "purge", "-A", "shop", url=migrated_url)
    refuses(asked, "Delete 2 tasks that wait on celery?", "no terminal to ask on: give --force; nothing was", code=2)


def test_purge_says_which_held_tasks_fail_with_those_that_it_deletes(folder: Path, migrated_url: str) -> None:
    with Lavoro("sender", broker=migrated_url, set_as_current=False) as sender:
        blocker = sender.send_task("shop.add", (1, 2))
        blocked = sender.send_task("mail.report", queue="mail", blockers=[blocker])
        sender.send_task("mail.send", queue="mail", blockers=[blocked], failure_policy="run")
        waits = "1 task that waits for them elsewhere fails: 1 x mail.report"
        asked = lavoro(folder, "purge", "-A", "shop", url=migrated_url)
        refuses(asked, f"Delete 1 task that waits on celery; {waits}?", "give --force", code=2)
        done = lavoro(folder, "purge", "-A", "shop", "-f", url=migrated_url)
        assert done.stdout == f"deleted 1 task from celery; {waits}\n"
        assert blocked.state == "FAILURE"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-A", "idle"], "the application idle has no tasks: name the modules that define them"),
        (["-A", "twins"], "twins has more than one application: first is taken; choose with -A twins:second"),
        (["-A", "shop", "-P", "solo", "-c", "4"], "-c 4 means nothing for the pool solo"),
        (["-A", "shop", "-P", "prefork", "-c", "4", "--processes", "1"], "-c 4 means nothing beside --processes 1"),
        (
            ["-A", "shop", "-n", "known@%h"],
            f"a worker named known@{socket.gethostname()} is alive already (1 process, ",
        ),
    ],
)
def test_what_a_worker_warns_of(folder: Path, migrated_url: str, arguments: list[str], words: str) -> None:
    alive = Registration(f"known@{socket.gethostname()}", 0, "elsewhere", 4711, "solo", 1, ["mail"], "0.1.0", 3600.0)
    database = Database(migrated_url)
    with database.tx() as tx:
        workers.register(tx, alive)
    database.dispose()
    output = warnings_of(folder, migrated_url, *arguments)
    assert [line for line in output if words in line], output
    assert len([line for line in output if "WARNING" in line]) == 1, output


def test_a_worker_without_fault_warns_of_nothing(folder: Path, migrated_url: str) -> None:
    for arguments in (["-A", "shop"], ["-A", "twins:first"], ["-A", "shop", "-P", "prefork", "-c", "1"]):
        assert not [line for line in warnings_of(folder, migrated_url, *arguments) if "WARNING" in line]


def warnings_of(folder: Path, url: str, *arguments: str) -> list[str]:
    """Return what a worker logs until it is ready."""
    environment = {**os.environ, "LAVORO_DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    with os.fdopen(reading) as said:
        with os.fdopen(writing, "wb") as output:
            command = ("lavoro", "worker", "-l", "info", *arguments)
            process = copies.start(*command, environment=environment, folder=folder, output=output)
        lines = list(itertools.takewhile(lambda line: " ready: " not in line, said))
        process.terminate()
        said.read()
        assert process.wait(60) == 0
    return lines


def test_an_ambiguous_module_is_told_by_each_verb(folder: Path, migrated_url: str) -> None:
    assert (
        "first is taken; choose with -A twins:second"
        in lavoro(folder, "status", "-A", "twins", url=migrated_url).stderr
    )
    assert lavoro(folder, "status", "-A", "twins:second", url=migrated_url).stderr == ""


def test_the_release_is_told_without_loading_the_package() -> None:
    program = (
        "import sys\nfrom lavoro.__main__ import main\nsys.argv = ['lavoro', '--version']\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 0\n"
        "print(sorted(name for name in ('sqlalchemy', 'psycopg', 'rich', 'gevent') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == [f"lavoro, version {__version__}", "[]"]


def test_modules_are_not_searched_for_garbage() -> None:
    """Neither while the verb's are imported, nor when the process ends, which took a fifth of a second."""
    program = (
        "import gc, sys\nfrom lavoro.__main__ import main\nsys.argv = ['lavoro', 'worker', '--help']\n"
        "begun = []\ngc.callbacks.append(lambda phase, info: begun.append('sqlalchemy' in sys.modules))\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 0\n"
        "assert 'sqlalchemy' in sys.modules\n"
        "print(sum(begun) < 20, gc.isenabled(), gc.get_freeze_count() > 30_000, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stderr == "True True True\n"


def test_completion_for_the_shell(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMP_CWORD": "2", "COMP_WORDS": "lavoro worker --max-t"}
    program = "from lavoro.cli import main; main()"
    typed = {**environment, "_LAVORO_COMPLETE": "bash_complete"}
    done = copies.run("-c", program, environment=typed, folder=folder)
    assert done.stdout == "plain,--max-tasks\nplain,--max-tasks-per-child\n"


def test_task_queue_and_schedule_names_are_completed(folder: Path, migrated_url: str) -> None:
    lavoro(folder, "schedule", "-A", "shop", "add", "nightly", "@daily", "shop.add", "1", "2", url=migrated_url)
    program = "from lavoro.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LAVORO_DATABASE_URL": migrated_url}
    for words, found in (
        ("call -A shop sh", "shop.add"),
        ("-A shop run sh", "shop.add"),
        ("queue -A shop pause c", "celery"),
        ("schedule -A shop show n", "nightly"),
        ("call -A missing sh", ""),
        ("status --js", "--json"),
    ):
        typed = {
            "COMP_WORDS": f"lavoro {words}", "COMP_CWORD": str(len(words.split())), "_LAVORO_COMPLETE": "bash_complete",
        }  # fmt: skip
        done = copies.run("-c", program, environment={**environment, **typed}, folder=folder)
        assert done.stdout.strip() == (f"plain,{found}" if found else ""), words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed_after_a_question(folder: Path, tmp_path: Path, shell: str) -> None:
    shown = lavoro(folder, "--show-completion", shell)
    assert "_LAVORO_COMPLETE" in shown.stdout
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "SHELL": f"/bin/{shell}"}
    refused = copies.run("lavoro", "--install-completion", environment=environment, folder=folder)
    assert (refused.returncode, [*tmp_path.iterdir()]) == (2, [])
    assert "writes " in refused.stdout
    for answer, code in (("n\n", 1), ("y\n", 0), ("y\n", 0)):
        assert at_terminal(folder, "--install-completion", typed=answer, **environment)[0] == code
        assert code == 0 or [*tmp_path.iterdir()] == []
    [script] = [file for file in tmp_path.rglob("*") if file.is_file() and not file.name.endswith("rc")]
    assert script.read_text() == shown.stdout
    start = tmp_path / f".{shell}rc"
    assert (start.read_text() if shell != "fish" else "") == (f"\nsource {script}\n" if shell != "fish" else "")
    refuses(lavoro(folder, "--show-completion", "csh"), "one of bash, zsh, fish, not 'csh'", code=2)


def test_the_help_of_the_worker_is_in_groups(folder: Path) -> None:
    shown = lavoro(folder, "worker", "--help").stdout
    titles = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert titles == [
        "Used most",
        "What it runs",
        "How it runs tasks",
        "How long it lives",
        "What it says",
        "Where it runs",
        "Who it is",
        "Other options",
    ]
    rest = shown.partition("Other options:")[2]
    assert re.findall(r"(--[\w-]+)", rest) == ["--help"]
    assert "--grace SECONDS" in shown
    assert "--concurrency N" in shown


def test_roles_are_printed_without_a_database(folder: Path) -> None:
    shown = lavoro(folder, "migrate", "-A", "shop", "--roles")
    assert shown.returncode == 0, shown.stderr
    assert 'grant execute on function "lavoro".enqueue to lavoro_producer;' in shown.stdout.splitlines()


def test_worker_from_its_options(folder: Path, migrated_url: str, tmp_path: Path) -> None:
    """Celery's options that mean nothing here are taken as they come."""
    pidfile = tmp_path / "pid"
    command = [
        *(
            sys.executable,
            "-m",
            "lavoro",
            "worker",
            "-A",
            "shop",
            "-E",
            "-Ofair",
            "--without-gossip",
            "--without-mingle",
        ),
        *(
            "--prefetch-multiplier",
            "1",
            "-n",
            "w1@%h",
            "-l",
            "INFO",
            "--pidfile",
            str(pidfile),
            "-c",
            "2",
            "-P",
            "threads",
        ),
    ]
    environment = {**os.environ, "LAVORO_DATABASE_URL": migrated_url, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if " ready: threads, 1 process of 2 slots" in line)
        assert "w1@" in line
        assert int(pidfile.read_text()) == process.pid
        status = lavoro(folder, "status", "-A", "shop", "-j", url=migrated_url)
        assert status.returncode == 0
        assert json.loads(status.stdout)["workers"][0]["slots"] == 2
        process.terminate()
        process.stderr.read()
        assert process.wait(60) == 0
    assert not pidfile.exists()


def test_verbs_of_celery_and_misspelt_ones(folder: Path) -> None:
    for verb, words in (
        ("list", "lavoro list: there is no message broker"),
        ("amqp", "lavoro amqp: there is no message broker"),
        ("graph", "AsyncResult.graph has the tasks that a task led to"),
        ("flower", "lavoro flower: "),
        ("logtool", "lavoro logtool: it read logs of Celery"),
        ("wroker", "no such command 'wroker': did you mean 'worker'?"),
    ):
        refuses(lavoro(folder, "-A", "shop", verb, "-l", "info"), words, "see lavoro --help", code=2)
    refuses(lavoro(folder, "dance"), "No such command 'dance'", code=2)
