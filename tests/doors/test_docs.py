"""The documentation tells the truth: its code runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import ast
import itertools
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import psycopg
import pytest

import lavoro
from benchmarks.output.report import Row, as_summary
from lavoro import exceptions
from lavoro.cli import cli, everywhere
from lavoro.testing.fixtures import fixtures
from lavoro.worker.supervisor.starts import FAILED_STARTS
from tests import copies
from tests.conftest import Eventually
from tests.postgres import public_folder

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "compat/README.md", *sorted(DOCS.rglob("*.md"))]
TIMEOUT = 90.0
SCRIPTS = Path(__file__).with_name("page_script.py")
FIXTURES = {*fixtures("lavoro")}
"""Names of pytest fixtures, which the source puts together."""


class Block(NamedTuple):
    """A fenced block of code; ``line`` is that of its first line in the page, counted from 1."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The name of the file that the block is part of: its first line says so in a comment."""
        named = re.match(r"# (\w+\.py)\b", self.text)
        return named[1] if named else None


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = re.finditer(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1) for match in found]


def each(pages: list[Path]) -> Any:
    return pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in pages])


# ---------------------------------------------------------------------------------------------- code: what is run


def write_files(page: Path, folder: Path) -> None:
    """Write the files that the page shows; a file that is shown in parts is put together."""
    for block in blocks(page):
        if block.language == "python" and block.file:
            with (folder / block.file).open("a") as file:
                file.write(block.text + "\n")


def write_calls(page: Path, folder: Path) -> Path:
    """Write the page's other Python and SQL as a script whose line numbers are those of the page."""
    lines = [""] * len(page.read_text().splitlines())
    for block in blocks(page):
        if block.file is None and block.language in ("python", "sql"):
            lines[block.line - 1 : block.line - 1 + block.text.count("\n")] = block.text.splitlines()
            if block.language == "sql":
                lines[block.line - 2] = 'sql(r"""'
                lines[block.line - 1 + block.text.count("\n")] = '""")'
    script = folder / f"{page.stem}.script"
    script.write_text("\n".join(lines))
    return script


def environment(url: str | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAVORO_", "DATABASE_URL"))}
    return {**kept, "PYTHONPATH": str(ROOT)} | ({"LAVORO_DATABASE_URL": url} if url else {})


def run(*arguments: str | Path, folder: Path, url: str | None) -> str:
    """Run Python with these arguments in the folder; return what it printed."""
    done = copies.run(*map(str, arguments), environment=environment(url), folder=folder)
    assert done.returncode == 0, f"{shlex.join(map(str, arguments))}\n{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def worker(command: str, folder: Path, url: str | None) -> Iterator[None]:
    """Run the ``lavoro worker ...`` that a page shows; it must stop cleanly."""
    with (folder / "worker.log").open("wb+") as log:
        process = copies.start(*shlex.split(command), environment=environment(url), folder=folder, output=log)
        try:
            yield
            process.terminate()
            assert process.wait(TIMEOUT) == 0
        finally:
            process.kill()
            process.wait()
            log.seek(0)
            print(log.read().decode())


def script_of(page: Path) -> bool:
    return any(block.language in ("python", "sql") and block.file is None for block in blocks(page))


OWN_TESTS = {"flask.md", "send-from-sql.md", "structure-a-larger-application.md", "test-your-tasks.md"}


RUN = [*GUIDES, DOCS / "how-it-works.md", *sorted((DOCS / "production").glob("*.md")), ROOT / "compat/README.md"]


@each([page for page in RUN if script_of(page) and page.name not in OWN_TESTS])
def test_code_runs_as_shown(page: Path, tmp_path: Path, migrated_url: str) -> None:
    write_files(page, tmp_path)
    script = write_calls(page, tmp_path)
    if not (tmp_path / "tasks.py").exists():
        run(SCRIPTS, script, folder=tmp_path, url=migrated_url)
        return
    with worker(worker_of(page), tmp_path, migrated_url):
        run(SCRIPTS, script, folder=tmp_path, url=migrated_url)


def worker_of(page: Path) -> str:
    """Return the command for a worker of ``tasks.py`` that the page shows, else the plain one."""
    found = [command for command in commands(page) if re.match(r"lavoro worker -A (tasks|postcards)\b", command)]
    return found[0] if found else "lavoro worker -A tasks -l info"


@each([*GUIDES, ROOT / "README.md"])
def test_queues_that_a_page_sends_to_are_served_by_its_worker(page: Path) -> None:
    code = "".join(block.text for block in blocks(page) if block.language == "python" and block.file != "settings.py")
    named = set(re.findall(r"""\bqueue="(\w+)\"""", code))
    served = {queue for command in commands(page) for queue in ",".join(re.findall(r"-Q (\S+)", command)).split(",")}
    assert named <= served


def test_pages_say_after_how_many_failed_starts_a_worker_gives_up() -> None:
    words = {5: "five", 10: "ten"}
    told = {word for page in PAGES for word in re.findall(r"(\w+) processes in\s+a\s+row", page.read_text())}
    assert told == {words[FAILED_STARTS]}


def test_one_unit_for_systemd() -> None:
    told = [*PAGES, *(ROOT / "examples").rglob("*"), *(ROOT / "benchmarks").rglob("*.md")]
    found = [name_of(page) for page in told if page.is_file() and b"[Service]" in page.read_bytes()]
    assert found == ["docs/production/systemd.md"]
    assert "](systemd.md)" in (DOCS / "production/deploy.md").read_text()


def test_tasks_sent_from_sql_arrive(tmp_path: Path, migrated_url: str, eventually: Eventually) -> None:
    page = DOCS / "guides/send-from-sql.md"
    write_files(page, tmp_path)
    run(SCRIPTS, write_calls(page, tmp_path), folder=tmp_path, url=migrated_url)

    with worker("lavoro worker -A tasks", tmp_path, migrated_url), psycopg.connect(migrated_url, autocommit=True) as db:
        query = "select state, name, result #>> '{}' from lavoro.tasks order by name, created_at"
        done = eventually(
            lambda: [row for row in [db.execute(query).fetchall()] if all(state == "SUCCESS" for state, *_ in row)],
            timeout=60,
            why="all tasks sent from SQL succeeded",
        )

    results = [result for _, _, result in done[0]]
    assert results == ["5", "5", "5", "9", "5", "article 1: 9.50 -> 12.00"]


def test_tests_of_the_testing_guide_pass(tmp_path: Path, migrated_url: str) -> None:
    write_files(DOCS / "guides/test-your-tasks.md", tmp_path)
    shown = run("pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path, url=migrated_url)
    assert "7 passed" in shown


@pytest.mark.slow
def test_tutorial_works_as_typed(tmp_path: Path, migrated_url: str) -> None:
    page = DOCS / "tutorial.md"
    write_files(page, tmp_path)
    with worker(worker_of(page), tmp_path, migrated_url):
        run(SCRIPTS, write_calls(page, tmp_path), folder=tmp_path, url=migrated_url)
    shown = run("pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path, url=migrated_url)
    assert "3 passed" in shown


def test_quick_start_of_the_readme_works_as_typed() -> None:
    readme = ROOT / "README.md"
    file, command, call, *_ = [block for block in blocks(readme) if block.language in ("python", "sh")]
    assert (file.file, command.language, call.language) == ("tasks.py", "sh", "python")
    with public_folder() as folder:
        (folder / "tasks.py").write_text(file.text)
        (folder / "call.script").write_text(call.text)
        with worker(command.text.strip(), folder, None):
            run(SCRIPTS, "call.script", folder=folder, url=None)
        assert (folder / ".lavoro").is_dir()
        said = f"the database is the embedded PostgreSQL in {folder / '.lavoro'}\n"
        assert (folder / "worker.log").read_text().count(said) == 1


def test_flask_example_of_the_readme_works(tmp_path: Path, migrated_url: str) -> None:
    shown = blocks(ROOT / "README.md")
    (block,) = [block for block in shown if block.file == "shop.py"]
    (start,) = [block.text for block in shown if block.language == "sh" and "flask --app shop run" in block.text]
    (tmp_path / "shop.py").write_text(block.text)
    (tmp_path / "call.script").write_text(
        "from shop import app, lavoro\n"
        "id = app.test_client().post('/greet/Ada').get_json()['task']\n"
        "lavoro.AsyncResult(id).get(timeout=30)  # 'Hello Ada, this is shop'\n"
    )
    with worker(start.splitlines()[0], tmp_path, migrated_url):
        run(SCRIPTS, "call.script", folder=tmp_path, url=migrated_url)


@each(PAGES)
def test_python_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile("\n" * (block.line - 1) + block.text, name_of(page), "exec")


@each(PAGES)
def test_sessions_can_be_typed_line_by_line(page: Path) -> None:
    """Python's prompt ends a block at an empty line, and only there."""
    for block in blocks(page):
        if block.language == "python" and not block.text.startswith("# "):
            lines = block.text.splitlines()
            for before, line in itertools.pairwise(lines):
                assert not (before == "" and line.startswith(" ")), f"{name_of(page)}: empty line before {line!r}"
                goes_on = re.match(r"[\s)\]}]|(else|elif|except|finally)\b|$", line)
                assert goes_on or not before.startswith(" "), f"{name_of(page)}: no empty line before {line!r}"


# ------------------------------------------------------------------------------------------------------- commands


def commands(page: Path) -> Iterator[str]:
    """Yield the commands in blocks and in code spans."""
    text = page.read_text()
    for block in blocks(page):
        if block.language == "sh":
            yield from block.text.splitlines()
    yield from re.findall(
        r"^    (\S.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE
    )
    yield from spans(page)


def spans(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", text)]


@each(PAGES)
def test_commands_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/bash")  # --show-completion reads it; a service manager sets none
    for command in commands(page):
        try:
            words = shlex.split(command.partition(" #")[0])
        except ValueError:  # an apostrophe
            words = command.split()
        if words[:2] == ["flask", "lavoro"] and len(words) > 2:
            words = words[1:]
        if words[:1] == ["make"] and len(words) > 1:
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        elif words[:1] == ["lavoro"] and len(words) > 1 and not words[1].isupper():
            parse(words[1:])


def parse(words: list[str]) -> None:
    """Read a command line as the command would; raises UsageError for a verb or an option it does not have."""
    command, rest = (cli.commands[words[0]], words[1:]) if words[0] in cli.commands else (cli, list(words))
    with suppress(click.exceptions.Exit), everywhere.restored():  # --version; options set variables
        command.make_context("lavoro", rest, resilient_parsing=not rest)


# -------------------------------------------------------------------------------------------------- names and links


@each(PAGES)
def test_links_lead_somewhere(page: Path) -> None:
    for _, target in links(page):
        if not re.match(r"https?://", target):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), target


@each(PAGES)
def test_functions_are_in_the_files_that_are_named(page: Path) -> None:
    for text, target in links(page):
        name = re.fullmatch(r"`(_?[A-Za-z]\w*(\.\w+)*)(\(\))?`", text)
        if target.endswith(".py") and name and not name[1].startswith("lavoro.") and not name[1].endswith(".py"):
            assert name[1] in definitions(page.parent / target), f"{target} has no {name[1]}"
        elif target.endswith(".sql"):
            assert text == f"`{Path(target).stem}`", f"{text} -> {target}"


@each([page for page in [*PAGES, ROOT / "benchmarks/README.md"] if page.name not in {"migrate-from-celery.md"}])
def test_sentences_name_their_subject(page: Path) -> None:
    """A noun begins a sentence: "A task that ...", not "What ..."; headings and questions in tables are left alone."""
    text = re.sub(r"^(```.*?^```|#.*?)$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    begins = r"(?:^|[.:!] |\| |- )((?:What|Who|Whoever|Whatever|Somebody|Nobody|Anybody) .{,60})"
    assert re.findall(begins, text, re.MULTILINE) == []


def test_glossary_names_each_term_once_in_order() -> None:
    page = DOCS / "internals/glossary.md"
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| \[`?([\w.]+)`?\]\(([^()]+)\) \|$", page.read_text(), re.MULTILINE)
    assert len(rows) == page.read_text().count("\n| ") - 1  # without the head
    twice = {"floor"}  # of the code, and of the benchmarks: each says so
    terms = [term for term, *_ in rows]
    assert terms == sorted(terms)
    assert [term for term in {*terms} if terms.count(term) != 1 + (term in twice)] == []
    for term, meaning, name, target in rows:
        assert (page.parent / target).is_file(), f"{term}: there is no {target}"
        assert name in (Path(target).name, Path(target).stem)
        assert meaning.find(". ") == -1, f"{term}: not one sentence"


def test_every_image_is_shown_by_a_page() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for _, target in links(page)}
    assert set((DOCS / "images").iterdir()) <= shown


def test_performance_has_one_table_of_measurements_with_date_and_commit() -> None:
    text = (DOCS / "internals/performance.md").read_text()
    section = text.partition("<!-- measurements: begin -->\n")[2].partition("<!-- measurements: end -->")[0]
    assert re.match(r"Measured on \d{4}-\d\d-\d\d at commit [0-9a-f]{7,}", section)
    assert section.count("| figure |") == 1


def test_measurements_have_a_line_for_each_figure() -> None:
    found = [
        Row("drain, 2 processes, finished", "tasks/s", {"lavoro": [9.0, 10.0, 12.0], "prototype": [10.0, 20.0, 20.0]}),
        Row("enqueue, one by one", "tasks/s", {"lavoro": [30.0], "Celery, prefork 2": [10.0], "SAQ": [5.0]}),
    ]
    drain, enqueue = as_summary(found).splitlines()[2:]
    cells = ["10 (9 to 12)", "prototype: 20", "0.60 of prototype", ">= 0.6 of prototype: met"]
    assert drain.strip("| ").split(" | ")[2:] == cells
    cells = ["30", "Celery, prefork 2: 10; SAQ: 5", "3.00 of Celery, prefork 2", ">= 1.5 of Celery, prefork 2: met"]
    assert enqueue.strip("| ").split(" | ")[2:] == cells


def links(page: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"!?\[([^\[\]]*)\]\(([^()\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def definitions(file: Path) -> set[str]:
    """Return the names of the classes, functions and variables of a file, those in classes with their class."""
    return set(_defined(ast.parse(file.read_text()).body, ""))


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield prefix + node.name
            yield from _defined(node.body, f"{prefix}{node.name}.") if isinstance(node, ast.ClassDef) else ()
        elif isinstance(node, ast.Assign):
            yield from (prefix + target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield prefix + node.target.id


def test_every_page_is_linked_from_the_index() -> None:
    linked = {(DOCS / target.partition("#")[0]).resolve() for _, target in links(DOCS / "index.md")}
    assert {page for page in DOCS.rglob("*.md") if page.name != "index.md"} <= linked


@each(PAGES)
def test_settings_and_signals_that_are_named_exist(page: Path) -> None:
    source = "\n".join(file.read_text() for folder in ("lavoro", "compat") for file in (ROOT / folder).rglob("*.py"))
    for span in spans(page):
        if span in FIXTURES:
            continue
        if re.fullmatch(r"(task|worker|result|lavoro|broker|beat|database|accept|before|after)_[a-z_]+", span):
            assert re.search(rf"\b{span}\b", source), span


def test_what_is_called_missing_is_missing() -> None:
    """The table "What this release does not have" of the guide for people who come from Celery."""
    assert not any(hasattr(lavoro.Lavoro, name) for name in ("amqp", "producer_pool"))


def test_page_of_floors_has_every_module() -> None:
    table = (DOCS / "internals/floors.md").read_text().partition("## ")[0]
    told = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| \d \|.*$", table, re.MULTILINE))))
    modules = {
        path.stem for path in (ROOT / "lavoro").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert told == modules - {"__init__", "__main__"}


def test_reference_of_settings_is_up_to_date() -> None:
    assert (DOCS / "reference/settings.md").read_text() == generator()["page"](), (
        "run: python docs/generate_settings.py"
    )


@lru_cache(maxsize=1)
def generator() -> dict[str, Any]:
    file = DOCS / "generate_settings.py"
    names: dict[str, Any] = {"__file__": str(file), "__name__": "generate_settings"}
    exec(compile(file.read_text(), file, "exec"), names)
    return names


def test_reference_of_errors_is_complete() -> None:
    tree = blocks(DOCS / "reference/errors.md")[0].text
    told = re.findall(r"^([^\w\n]*)(\w+)", tree, re.MULTILINE)
    parents: dict[int, str] = {}
    for indent, name in told:
        depth = len(indent)
        parents[depth] = name
        base = getattr(exceptions, parents[depth - 4]) if depth else BaseException
        assert issubclass(getattr(exceptions, name), base), name
    values = vars(exceptions).values()
    classes = {
        value.__name__ for value in values if isinstance(value, type) and value.__module__ == exceptions.__name__
    }
    assert {name for _, name in told} == classes
