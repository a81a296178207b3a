"""Tasks of a Flask site in a real worker: contexts, teardown, the session, isolation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.doors.flask_sites import LAVORO, Site, migrated_database, site_in
from tests.postgres import Cluster

CLUB = {
    "club/__init__.py": """
        from flask import Flask
        from lavoro.ext.flask import FlaskLavoro
        from flask_sqlalchemy import SQLAlchemy
        from sqlalchemy import make_url
        from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

        class Base(DeclarativeBase):
            pass

        db = SQLAlchemy(model_class=Base)
        lavoro = FlaskLavoro()
        ends = []

        class Member(Base):
            __tablename__ = "member"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]

        def create_app():
            from . import tasks

            app = Flask(__name__)
            lavoro.init_app(app)
            app.config["SQLALCHEMY_DATABASE_URI"] = lavoro.database_url
            db.init_app(app)

            @app.teardown_appcontext
            def note(error):
                ends.append([type(error).__name__, db.session.registry.has()])

            return app
        """,
    "club/tasks.py": """
        import threading
        from flask import current_app, g, has_request_context
        from lavoro import shared_task
        from . import Member, db, ends, lavoro

        meeting = threading.Barrier(3)

        @shared_task
        def meet(number):
            fresh = "number" not in g and not db.session.registry.has()
            g.number = number
            db.session.add(Member(id=number, name=str(number)))
            meeting.wait(60)
            alone = [member.id for member in db.session.new] == [number]
            return [fresh, g.number, alone, has_request_context(), current_app.name]

        @lavoro.task
        def leave(how):
            db.session.add(Member(name="nobody"))
            db.session.flush()
            ends.clear()
            if how == "error":
                raise ValueError(how)
            return db.session.query(Member).filter_by(name="nobody").count()

        @shared_task
        def look():
            return [ends[:], db.session.query(Member).filter_by(name="nobody").count()]

        @shared_task(bind=True, max_retries=1, default_retry_delay=0)
        def try_again(self):
            if self.request.retries == 0:
                ends.clear()
                raise self.retry()

        @shared_task
        def outer():
            g.depth = 1
            return [inner(), g.depth, inner.apply().result, g.depth]

        @shared_task
        def inner():
            g.depth = g.get("depth", 0) + 1
            return g.depth

        @shared_task
        def sign_up(name, fail):
            db.session.add(Member(name=name))
            with lavoro.transaction():
                followed = greet.delay(name)
            if fail:
                raise ValueError(name)
            db.session.commit()
            return followed.id

        @shared_task
        def greet(name):
            return [f"hello {member.name}" for member in db.session.query(Member).filter_by(name=name)]
        """,
    "pushed.py": """
        from club import create_app
        app = create_app()
        app.app_context().push()  # so that models can be used in the shell, many sites say
        """,
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster, migrated_template: str) -> Iterator[Site]:
    """A site, which all tests here share, with its tables and one worker."""
    patch = pytest.MonkeyPatch()
    folder: Path = tmp_path_factory.mktemp("club")
    with migrated_database(cluster, migrated_template) as url, site_in(folder, url, patch) as site:
        site.write(CLUB)
        club = site.load("club")
        app = club.create_app()
        with app.app_context():
            club.db.create_all()
            club.db.engine.dispose()
        site.start(*LAVORO, "worker", "-A", "club", "-c", "10", "-Q", "celery")
        # solo: here tasks run in the main thread, the one whose context the module has pushed
        site.start(*LAVORO, "worker", "-A", "pushed", "-P", "solo", "-Q", "pushed")
        yield site
        club.lavoro.close()
    patch.undo()


@pytest.fixture(scope="module")
def tasks(site: Site) -> ModuleType:
    """The site's tasks."""
    return site.load("club.tasks")


def outcome(task: Any, *args: Any, queue: str = "celery") -> Any:
    """Run a task in the worker and return its result, or the error's class."""
    result = task.apply_async(args, queue=queue)
    value = result.get(timeout=60, propagate=False)
    return type(value) if isinstance(value, BaseException) else value


def test_tasks_at_the_same_time_share_neither_context_nor_session(tasks: ModuleType) -> None:
    results = tasks.meet.delay_many([(1,), (2,), (3,)])
    assert [result.get(timeout=60) for result in results] == [[True, n, True, False, "club"] for n in (1, 2, 3)]


@pytest.mark.parametrize("queue", ["celery", "pushed"])
@pytest.mark.parametrize(("how", "left", "error"), [("return", 1, "NoneType"), ("error", ValueError, "ValueError")])
def test_each_task_is_torn_down_and_takes_its_session_along(
    tasks: ModuleType, how: str, left: object, error: str, queue: str
) -> None:
    assert outcome(tasks.leave, how, queue=queue) == left
    ends, rows = outcome(tasks.look, queue=queue)
    assert ends == [[error, True]]  # functions run last to first: ours before that of Flask-SQLAlchemy
    assert rows == 0  # what was not committed


def test_a_retry_is_torn_down_too(tasks: ModuleType) -> None:
    assert outcome(tasks.try_again) is None
    assert outcome(tasks.look)[0] == [["Retry", False], ["NoneType", False]]


def test_a_task_called_by_a_task_shares_its_context(tasks: ModuleType) -> None:
    assert outcome(tasks.outer) == [2, 2, 3, 3]


def test_a_task_sends_another_in_its_own_transaction(tasks: ModuleType) -> None:
    followed = outcome(tasks.sign_up, "Ada", False)
    assert tasks.greet.AsyncResult(followed).get(timeout=60) == ["hello Ada"]
    assert outcome(tasks.sign_up, "Bob", True) is ValueError
    assert outcome(tasks.greet, "Bob") == []
