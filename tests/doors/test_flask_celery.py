"""Flask sites written for Celery run with nothing changed but the import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Eventually
from tests.doors.flask_sites import LAVORO, Site, site_in

# The shape of the pattern "Background Tasks with Celery" in Flask's documentation.
TODAY = {
    "site_today/__init__.py": """
        from flask import Flask
        from lavoro import Celery, Task

        def create_app() -> Flask:
            app = Flask(__name__)
            app.config.from_mapping(
                CELERY=dict(
                    broker_url="redis://localhost", result_backend="redis://localhost", task_ignore_result=True
                ),
                GREETING="hello",
            )
            app.config.from_prefixed_env()
            celery_init_app(app)

            from . import views
            app.register_blueprint(views.pages)
            return app

        def celery_init_app(app: Flask) -> Celery:
            class FlaskTask(Task):
                def __call__(self, *args: object, **kwargs: object) -> object:
                    with app.app_context():
                        return self.run(*args, **kwargs)

            celery_app = Celery(app.name, task_cls=FlaskTask)
            celery_app.config_from_object(app.config["CELERY"])
            celery_app.set_default()
            app.extensions["celery"] = celery_app
            return celery_app
        """,
    "site_today/tasks.py": """
        from flask import current_app
        from lavoro import Task, shared_task

        @shared_task(ignore_result=False)
        def sum_up(a: int, b: int) -> int:
            return a + b

        @shared_task(ignore_result=False)
        def greet(name: str) -> str:
            return f"{current_app.config['GREETING']}, {name}"

        @shared_task()
        def forget() -> str:
            return "nobody will know"

        @shared_task(bind=True, ignore_result=False)
        def count(self: Task, total: int) -> object:
            for i in range(total):
                self.update_state(state="PROGRESS", meta={"current": i + 1, "total": total})
            return {"current": total, "total": total}
        """,
    "site_today/views.py": """
        from flask import Blueprint, request
        from lavoro.result import AsyncResult
        from . import tasks

        pages = Blueprint("pages", __name__, url_prefix="/tasks")

        @pages.get("/result/<id>")
        def result(id: str) -> dict[str, object]:
            result = AsyncResult(id)
            ready = result.ready()
            return {
                "ready": ready,
                "successful": result.successful() if ready else None,
                "value": result.get() if ready else result.result,
            }

        @pages.post("/sum")
        def sum_up() -> dict[str, object]:
            result = tasks.sum_up.delay(request.form.get("a", type=int), request.form.get("b", type=int))
            return {"result_id": result.id}

        @pages.post("/<name>")
        def any_task(name: str) -> dict[str, object]:
            return {"result_id": getattr(tasks, name).delay(*request.get_json()).id}
        """,
    "make_celery.py": """
        from site_today import create_app

        flask_app = create_app()
        celery_app = flask_app.extensions["celery"]
        """,
}

# The pattern that older guides and many sites have.
FORMER = {
    "site_former.py": """
        from flask import Flask, current_app
        from lavoro import Celery

        def make_celery(app):
            celery = Celery(
                app.import_name, backend=app.config["CELERY_RESULT_BACKEND"], broker=app.config["CELERY_BROKER_URL"]
            )
            celery.conf.update(app.config)

            class ContextTask(celery.Task):
                def __call__(self, *args, **kwargs):
                    with app.app_context():
                        return self.run(*args, **kwargs)

            celery.Task = ContextTask
            return celery

        app = Flask(__name__)
        app.config.update(
            CELERY_BROKER_URL="redis://localhost:6379", CELERY_RESULT_BACKEND="redis://localhost:6379", SHOP="corner"
        )
        celery = make_celery(app)

        @celery.task()
        def sum_up(a, b):
            return [current_app.config["SHOP"], a + b]
        """,
}


@pytest.fixture
def site(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A project in an empty folder."""
    with site_in(tmp_path, migrated_url, monkeypatch) as site:
        yield site


def test_the_pattern_of_flasks_documentation(site: Site, eventually: Eventually) -> None:
    site.write(TODAY)
    app = site.load("site_today").create_app()
    site.start(*LAVORO, "-A", "make_celery", "worker", "--loglevel", "INFO")
    client = app.test_client()

    with pytest.warns(UserWarning, match="redis://"):  # passed over for the environment's database
        sums = client.post("/tasks/sum", data={"a": 2, "b": 3}).json["result_id"]
    greeting = client.post("/tasks/greet", json=["Ada"]).json["result_id"]
    counted = client.post("/tasks/count", json=[3]).json["result_id"]
    forgotten = client.post("/tasks/forget", json=[]).json["result_id"]

    def answer(id: str) -> dict[str, object]:
        found: dict[str, object] = client.get(f"/tasks/result/{id}").json
        return found if found["ready"] else {}

    assert eventually(lambda: answer(sums), timeout=60) == {"ready": True, "successful": True, "value": 5}
    assert eventually(lambda: answer(greeting), timeout=60)["value"] == "hello, Ada"
    assert eventually(lambda: answer(counted), timeout=60)["value"] == {"current": 3, "total": 3}
    assert eventually(lambda: answer(forgotten), timeout=60)["value"] is None
    app.extensions["celery"].close()


def test_the_pattern_of_older_guides(site: Site) -> None:
    site.write(FORMER)
    with pytest.warns(UserWarning, match="redis://"):
        result = site.load("site_former").sum_up.delay(2, 3)
    site.start(*LAVORO, "worker", "-A", "site_former.celery", "-c", "2")
    assert result.get(timeout=60) == ["corner", 5]
    site.load("site_former").celery.close()
