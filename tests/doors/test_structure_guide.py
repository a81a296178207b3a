"""The code of the guides about structure, start and stop works, as it is shown."""

from __future__ import annotations

import re
from pathlib import Path

from tests.doors.test_docs import ROOT, SCRIPTS, commands, run, worker, write_calls, write_files

PAGE = ROOT / "docs/guides/structure-a-larger-application.md"


def write(folder: Path) -> list[str]:
    """Write the files of the page, and return the paths that its tree shows."""
    text = PAGE.read_text()
    for path, code in re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    found, above = [], []
    for line in re.findall(r"^```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[0].splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 4, line.strip()
        above[depth:] = [name]
        if not name.endswith("/"):
            found.append("".join(above))
            if name == "__init__.py":
                (folder / found[-1]).touch()
    return found


def test_the_application_of_the_page(tmp_path: Path, migrated_url: str) -> None:
    shown = write(tmp_path)
    assert sorted(shown) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py"))
    script = write_calls(PAGE, tmp_path)
    lines = script.read_text().splitlines()  # without the files, which write_calls knows by their plain names alone
    kept = lines[next(index for index, line in enumerate(lines) if "import confirm" in line) :]
    script.write_text("\n".join(kept))
    (command,) = [command for command in commands(PAGE) if command.startswith("lavoro worker")]
    with worker(f"{command} -l info", tmp_path, migrated_url):
        run(SCRIPTS, script, folder=tmp_path, url=migrated_url)
    log = (tmp_path / "worker.log").read_text()
    assert re.search(r"shop\.domain\.mail\.tasks\.send\[\S+\] succeeded in \S+: 'to ada@example\.org by smtp", log)
    assert (tmp_path / "stopped").exists()
    asked = (
        "from shop.app import app\napp.import_modules()\n"
        "assert list(app.conf.beat_schedule) == ['clean up']\n"
        "assert app.conf.beat_schedule['clean up']['task'] in app.tasks\n"
    )
    run("-c", asked, folder=tmp_path, url=migrated_url)


def test_the_tests_of_the_page_about_start_and_stop_pass(tmp_path: Path, migrated_url: str) -> None:
    write_files(ROOT / "docs/guides/start-and-stop-with-the-worker.md", tmp_path)
    shown = run("pytest", "-q", "-p", "no:cacheprovider", folder=tmp_path, url=migrated_url)
    assert "1 passed" in shown
