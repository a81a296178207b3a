"""What docs/guides/flask.md shows works, as it is shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lavoro import AsyncResult, Lavoro
from lavoro.store.schema.migrate import migrate
from tests.conftest import Eventually
from tests.doors.flask_sites import FLASK, LAVORO, ROOT, Site, Web, site_in
from tests.postgres import Cluster

PAGE = ROOT / "docs" / "guides" / "flask.md"


def files() -> dict[str, str]:
    """The files of the page by their paths, which their first lines tell."""
    return dict(re.findall(r"^```python\n# (\S+\.py)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))


def commands() -> list[str]:
    """The commands of the page."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def shown(command: str) -> str:
    """Return the command, which the page must show."""
    assert command in commands()
    return command


@pytest.fixture
def site(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The files of the page, on an empty database that only Flask's configuration names."""
    with site_in(tmp_path, database_url, monkeypatch) as site:
        del site.environment["LAVORO_DATABASE_URL"]
        monkeypatch.delenv("LAVORO_DATABASE_URL")
        variables = {"FLASK_SQLALCHEMY_DATABASE_URI": database_url.replace("postgresql:", "postgresql+psycopg:")}
        site.environment.update(variables)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        site.write(files())
        yield site


def test_a_site_with_tasks(site: Site, eventually: Eventually) -> None:
    assert {"lavoro worker -A shop", "flask --app shop run"} <= set(commands())
    migrated = site.run(*FLASK, *shown("flask --app shop lavoro migrate").split()[1:])
    assert migrated.returncode == 0, migrated.stderr
    shop = site.load("shop")
    app = shop.create_app()
    made = site.run(*FLASK, *shown("flask --app shop create-tables").split()[1:])
    assert made.returncode == 0, made.stderr
    site.start(*FLASK, *shown("flask --app shop lavoro worker -l info").split()[1:])

    client = app.test_client()
    task = client.post("/sign-up", data={"email": "ada@example.org"}).json["task"]
    assert client.post("/sign-up", data={"email": "ada@example.org"}).status_code == 500  # neither user nor task

    def answer() -> Any:
        found = client.get(f"/tasks/{task}").json
        return found if found["state"] == "SUCCESS" else None

    assert eventually(answer, timeout=60)["value"] == "Dear ada@example.org, welcome to shop!"
    status = site.run(*FLASK, *shown("flask --app shop lavoro status").split()[1:])
    assert status.returncode == 0, status.stderr
    with app.app_context():
        assert shop.db.session.query(site.load("shop.models").User).one().welcomed
        shop.db.session.remove()
        shop.db.engine.dispose()
    shop.lavoro.close()


PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py")


def test_the_tests_of_the_page_pass(site: Site, cluster: Cluster) -> None:
    name = cluster.create_database(f"{site.url.rpartition('/')[2]}_test")
    site.environment["TEST_DATABASE_URL"] = cluster.url(name).replace("postgresql:", "postgresql+psycopg:")
    done = site.run(*PYTEST)
    cluster.drop_database(name)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("named", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_tests_of_the_page_leave_the_database_of_the_site_alone(site: Site, *, named: bool) -> None:
    """Whether the variable names the site's database, or is not set."""
    assert site.run(*FLASK, "--app", "shop", "create-tables").returncode == 0
    if named:
        site.environment["TEST_DATABASE_URL"] = site.url.replace("postgresql:", "postgresql+psycopg:")
    done = site.run(*PYTEST)
    assert done.returncode == 1
    assert ("must end in _test" if named else "KeyError: 'TEST_DATABASE_URL'") in done.stdout
    with psycopg.connect(site.url) as connection:
        assert connection.execute("select to_regclass('public.user') is not null").fetchone() == (True,)


def test_the_settings_of_the_page_are_right(site: Site) -> None:
    app = site.load("shop").create_app()
    app.config.from_object("settings")
    lavoro = site.load("shop").lavoro
    lavoro.conf.check()
    assert lavoro.conf.database_url == "postgresql://localhost/tasks"
    assert (lavoro.queues, lavoro.conf.task_time_limit) == (["shop"], 600)


def test_the_celery_pattern_of_the_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(site.url)
    site.environment["LAVORO_DATABASE_URL"] = site.url
    monkeypatch.setenv("LAVORO_DATABASE_URL", site.url)
    module = site.load("celery_site")
    app = module.create_app()
    site.start(*LAVORO, *shown("lavoro -A celery_site worker --loglevel INFO").split()[1:])
    with pytest.warns(UserWarning, match="redis://"):
        result = module.add_together.delay(2, 3)
    assert result.get(timeout=60) == 5
    app.extensions["celery"].close()


def test_the_embedded_worker_of_the_page(site: Site, eventually: Eventually) -> None:
    migrate(site.url)
    site.environment["LAVORO_DATABASE_URL"] = site.url
    task = Web(site, "corner_shop", eventually).post("/open")["task"]
    assert AsyncResult(task, app=Lavoro(broker=site.url)).get(timeout=60) == "corner_shop is open"
