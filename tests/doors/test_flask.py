"""The Flask extension inside a web process: configuration, contexts, transactions, many applications."""

from __future__ import annotations

import copy
import datetime as dt
import gc
import re
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask, current_app, g, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import make_url
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from lavoro import Lavoro, Task, shared_task
from lavoro import current_app as current_lavoro
from lavoro.exceptions import ImproperlyConfigured, TaskRevokedError
from lavoro.exceptions import TimeoutError as LavoroTimeoutError
from lavoro.ext.flask import FlaskLavoro, FlaskTask
from lavoro.protocol.message import Job
from lavoro.protocol.signing import Keyring
from lavoro.store.capacity import smallest
from lavoro.worker.config import WorkerOptions, make_config
from tests.conftest import Eventually
from tests.doors.flask_sites import migrated_database
from tests.postgres import Cluster

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


class Base(DeclarativeBase):
    """Base of the tables."""


db = SQLAlchemy(model_class=Base)


class User(Base):
    """A row written beside a task."""

    __tablename__ = "site_user"

    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No database in the environment."""
    monkeypatch.delenv("LAVORO_DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def lavoro() -> Iterator[FlaskLavoro]:
    """An extension that no application has been given to yet."""
    lavoro = FlaskLavoro()
    yield lavoro
    lavoro.close()


def make_app(lavoro: FlaskLavoro, **config: Any) -> Flask:
    """Return an application as a factory makes them."""
    app = Flask(__name__)
    app.config.update(config)
    lavoro.init_app(app)
    return app


@pytest.fixture
def app(lavoro: FlaskLavoro, migrated_url: str) -> Iterator[Flask]:
    """A site on PostgreSQL with Flask-SQLAlchemy, whose database is Lavoro's too."""
    app = make_app(lavoro, SQLALCHEMY_DATABASE_URI=migrated_url.replace("postgresql:", "postgresql+psycopg:"))
    db.init_app(app)
    with app.app_context():
        db.create_all()
    yield app
    with app.app_context():
        db.engine.dispose()


def count(url: str, table: str = "lavoro.waiting") -> int:
    """How many rows another session sees."""
    with psycopg.connect(url) as connection:
        row = connection.execute(f"select count(*) from {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


@shared_task
def shared() -> str:
    """A task of whichever application is meant."""
    return str(current_app.config["NAME"])


# Configuration


def test_settings_come_from_the_sites_configuration(lavoro: FlaskLavoro) -> None:
    app = make_app(lavoro, LAVORO={"task_default_queue": "shop", "task_time_limit": 5})
    assert app.extensions["lavoro"] is app.extensions["celery"] is lavoro
    assert (lavoro.conf.task_default_queue, lavoro.conf.task_time_limit) == ("shop", 5)


def test_lavoros_settings_win_over_celerys_and_those_over_keywords() -> None:
    lavoro = FlaskLavoro(task_default_queue="keyword", result_expires=1, task_track_started=True)
    celery = {"task_default_queue": "celery", "result_expires": 2}
    make_app(lavoro, CELERY=celery, LAVORO={"task_default_queue": "lavoro"})
    conf = lavoro.conf
    assert (conf.task_default_queue, conf.result_expires, conf.task_track_started) == ("lavoro", 2, True)


def test_configuration_is_read_when_it_is_needed(lavoro: FlaskLavoro) -> None:
    app = make_app(lavoro)
    app.config["LAVORO"] = {"task_default_queue": "late"}
    assert lavoro.queues == ["late"]
    lavoro.conf.task_default_queue = "later"
    assert lavoro.queues == ["later"]


def test_settings_come_from_the_environment_flasks_way(lavoro: FlaskLavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_LAVORO__task_default_queue", "from the environment")
    app = make_app(lavoro, LAVORO={"result_expires": 7})
    app.config.from_prefixed_env()
    assert (lavoro.conf.task_default_queue, lavoro.conf.result_expires) == ("from the environment", 7)


def test_an_application_can_be_given_at_once() -> None:
    app = Flask(__name__)
    lavoro = FlaskLavoro(app)
    assert lavoro.flask_app is app
    assert app.extensions["lavoro"] is lavoro


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql+psycopg://ada:pass%40word@db/shop?sslmode=require", "postgresql://ada:pass%40word@db/shop?sslmode=require"),
        ("postgresql+psycopg2://db/shop", "postgresql://db/shop"),
        (make_url("postgresql://ada:secret@db/shop"), "postgresql://ada:secret@db/shop"),
        ("sqlite:///shop.db", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_sites_database_is_the_default(lavoro: FlaskLavoro, uri: Any, expected: str | None) -> None:
    make_app(lavoro, SQLALCHEMY_DATABASE_URI=uri)
    assert lavoro.conf.database_url == expected


def test_the_environment_goes_before_the_sites_database(lavoro: FlaskLavoro, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAVORO_DATABASE_URL", "postgresql://db/tasks")
    make_app(lavoro, SQLALCHEMY_DATABASE_URI="postgresql://db/shop")
    assert lavoro.conf.database_url == "postgresql://db/tasks"


def test_the_sites_database_stands_in_for_a_broker_of_another_kind(lavoro: FlaskLavoro) -> None:
    uri = "postgresql://db/shop"
    make_app(lavoro, SQLALCHEMY_DATABASE_URI=uri, CELERY={"broker_url": "redis://localhost"})
    with pytest.warns(UserWarning, match="redis://"):
        assert lavoro.conf.database_url == uri


# Contexts


def test_a_task_called_outside_gets_a_context_and_its_end(lavoro: FlaskLavoro) -> None:
    ends: list[object] = []
    app = make_app(lavoro, NAME="shop")
    app.teardown_appcontext(ends.append)

    @lavoro.task
    def name() -> str:
        return str(current_app.config["NAME"])

    assert (name(), len(ends)) == ("shop", 1)
    assert (name.apply().get(), len(ends)) == ("shop", 2)
    assert not has_app_context()


def test_the_context_of_a_task_that_fails_learns_why(lavoro: FlaskLavoro) -> None:
    ends: list[object] = []
    app = make_app(lavoro)
    app.teardown_appcontext(ends.append)

    @lavoro.task
    def fail() -> None:
        raise KeyError("why")

    assert fail.apply().state == "FAILURE"
    assert [repr(end) for end in ends] == ["KeyError('why')"]


@pytest.mark.parametrize("call", [lambda task: task(), lambda task: task.delay().get()], ids=["directly", "eagerly"])
def test_a_task_called_in_a_request_shares_its_context(lavoro: FlaskLavoro, call: Callable[[Any], Any]) -> None:
    ends: list[object] = []
    app = make_app(lavoro, LAVORO={"task_always_eager": True})
    app.teardown_appcontext(ends.append)

    @lavoro.task
    def visitor() -> list[Any]:
        return [g.visitor, len(ends)]

    @app.get("/")
    def page() -> list[Any]:
        g.visitor = "Ada"
        return [*call(visitor), len(ends)]

    assert app.test_client().get("/").json == ["Ada", 0, 0]


def test_an_eager_task_sees_what_the_request_has_not_committed(lavoro: FlaskLavoro, app: Flask) -> None:
    lavoro.conf.task_always_eager = True

    @lavoro.task
    def users() -> int:
        return db.session.query(User).count()

    @app.post("/")
    def page() -> dict[str, Any]:
        db.session.add(User(id=1))
        db.session.flush()
        return {"users": users.delay().get()}

    assert app.test_client().post("/").json == {"users": 1}


class Plain(Task[..., Any]):
    """A base class that knows nothing of Flask."""

    abstract = True
    colour = "red"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return [self.colour, super().__call__(*args, **kwargs)]


class Written(Plain):
    """A task written as a class."""

    name = "written"

    def run(self) -> str:
        return current_app.name


def test_tasks_of_any_class_run_in_a_context(lavoro: FlaskLavoro) -> None:
    make_app(lavoro)

    @lavoro.task(base=Plain)
    def decorated() -> str:
        return current_app.name

    assert isinstance(decorated, FlaskTask)
    for task in (decorated, lavoro.register_task(Written), lavoro.register_task(Written())):
        assert task() == task.apply().get() == ["red", __name__]


# Transactions


def test_a_task_exists_when_the_session_commits(lavoro: FlaskLavoro, app: Flask, migrated_url: str) -> None:
    with app.app_context():
        db.session.add(User(id=1))
        with lavoro.transaction():
            result = shared.delay()
        assert (count(migrated_url), count(migrated_url, "site_user")) == (0, 0)
        db.session.commit()
        assert (count(migrated_url), count(migrated_url, "site_user")) == (1, 1)
        assert result.stage == "waiting"


@pytest.mark.parametrize("end", ["rollback", "teardown"])
def test_a_task_never_was_when_the_session_does_not_commit(
    lavoro: FlaskLavoro, app: Flask, migrated_url: str, end: str
) -> None:
    with app.app_context():
        db.session.add(User(id=1))
        shared.apply_async(connection=db.session)
        with lavoro.transaction(db.session):
            shared.delay_many([(), ()])
        if end == "rollback":
            db.session.rollback()
            db.session.commit()
    assert (count(migrated_url), count(migrated_url, "site_user")) == (0, 0)


def test_a_savepoint_takes_only_its_own_tasks_back(lavoro: FlaskLavoro, app: Flask, migrated_url: str) -> None:
    with app.app_context(), lavoro.transaction():
        kept = shared.delay()
        nested = db.session.begin_nested()
        shared.delay()
        nested.rollback()
        with db.session.begin_nested():
            kept_too = shared.delay()
        db.session.commit()
        assert count(migrated_url) == 2
        assert kept.stage == kept_too.stage == "waiting"


def test_outside_of_the_block_a_task_is_sent_at_once(lavoro: FlaskLavoro, app: Flask, migrated_url: str) -> None:
    with app.app_context():
        db.session.add(User(id=1))
        with lavoro.transaction():
            pass
        shared.delay()
    assert (count(migrated_url), count(migrated_url, "site_user")) == (1, 0)


def test_without_flask_sqlalchemy_the_session_must_be_given(lavoro: FlaskLavoro, migrated_url: str) -> None:
    app = make_app(lavoro, LAVORO={"broker_url": migrated_url})
    with app.app_context(), pytest.raises(ImproperlyConfigured, match="Flask-SQLAlchemy"), lavoro.transaction():
        pass
    with psycopg.connect(migrated_url) as connection, lavoro.transaction(connection):
        shared.delay()
        connection.rollback()
    assert count(migrated_url) == 0


# Many applications


@pytest.fixture
def two_urls(cluster: Cluster, migrated_template: str) -> Iterator[tuple[str, str]]:
    """Two migrated databases."""
    with migrated_database(cluster, migrated_template) as one, migrated_database(cluster, migrated_template) as two:
        yield one, two


def test_each_application_has_its_own_settings_and_database(lavoro: FlaskLavoro, two_urls: tuple[str, str]) -> None:
    queues = [{"broker_url": url, "task_default_queue": name} for url, name in zip(two_urls, "ab", strict=True)]
    first, second = (make_app(lavoro, LAVORO=settings) for settings in queues)

    @lavoro.task
    def own() -> None: ...

    with first.app_context():
        own.delay()
        result = shared.delay()
        assert (result.queue, lavoro.queues) == ("a", ["a"])
        with second.app_context():
            assert lavoro.AsyncResult(result.id).stage is None
            assert (shared.delay().queue, lavoro.queues) == ("b", ["b"])
        assert lavoro.queues == ["a"]
    assert lavoro.queues == ["b"]  # outside of a context: the last one
    assert [count(url) for url in two_urls] == [2, 1]


def test_calls_of_two_sites_at_the_same_moment(
    lavoro: FlaskLavoro, two_urls: tuple[str, str], eventually: Eventually
) -> None:
    """Those of one site share a commit, and none with those of the other."""
    apps = [make_app(lavoro, LAVORO={"broker_url": url}) for url in two_urls]

    def call(app: Flask, number: int) -> None:
        with app.app_context():
            lavoro.send_task("of a site", [number])

    def stored(site: int) -> list[int]:
        with psycopg.connect(two_urls[site]) as connection:
            return sorted(row[0] for row in connection.execute("select (args->>0)::int from lavoro.waiting"))

    with ThreadPoolExecutor(9) as threads, psycopg.connect(two_urls[0], autocommit=True) as observer:
        with psycopg.connect(two_urls[0]) as holder:
            holder.execute("lock table lavoro.waiting in share mode")
            doing = [threads.submit(call, apps[0], 0)]
            waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            eventually(lambda: observer.execute(waiting).fetchall(), why="the first call waits")
            doing += [threads.submit(call, apps[number % 2], number) for number in range(1, 8)]
            eventually(lambda: stored(1) == [1, 3, 5, 7], why="the other site is not held up")
        for each in doing:
            each.result(60)
    assert (stored(0), stored(1)) == ([0, 2, 4, 6], [1, 3, 5, 7])


def test_a_site_whose_workers_are_busy_lets_those_of_another_sleep_no_longer(
    lavoro: FlaskLavoro, two_urls: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lavoro.store.enqueuer.AWAKE", 3600.0)
    busy, resting = (make_app(lavoro, LAVORO={"broker_url": url}) for url in two_urls)
    with psycopg.connect(two_urls[1], autocommit=True) as worker:
        worker.execute("listen lavoro_wake")
        worker.execute("select pg_advisory_lock_shared(hashtextextended('lavoro_queue:celery', 0))")
        with busy.app_context():
            shared.delay()
        with resting.app_context():
            shared.delay()
        assert [heard.payload for heard in worker.notifies(timeout=30, stop_after=1)] == ["due:0:celery"]


def test_a_call_joins_no_transaction_of_another_site(lavoro: FlaskLavoro, two_urls: tuple[str, str]) -> None:
    """Nor is it lost with that one."""
    apps = [make_app(lavoro, LAVORO={"broker_url": url}) for url in two_urls]
    with psycopg.connect(two_urls[0]) as connection, apps[0].app_context(), lavoro.transaction(connection):
        shared.delay()
        with apps[1].app_context():
            shared.delay()
            lavoro.send_task("many")
        assert [count(url) for url in two_urls] == [0, 2]
        connection.commit()
        assert [count(url) for url in two_urls] == [1, 2]


def test_a_result_belongs_to_the_site_of_its_call(lavoro: FlaskLavoro, two_urls: tuple[str, str]) -> None:
    """Wherever it is asked: in the context of another site, or in none."""
    apps = [make_app(lavoro, LAVORO={"broker_url": url}) for url in two_urls]
    with apps[0].app_context():
        sent = lavoro.send_task("of a site")
        known = lavoro.AsyncResult(sent.id)
    with apps[1].app_context():
        results = [sent, known, copy.copy(sent)]
        assert [(result.stage, result.name) for result in results] == [("waiting", "of a site")] * 3
        assert lavoro.AsyncResult(sent.id).stage is None
        own = re.escape(two_urls[0].rpartition("/")[2])
        with pytest.raises(LavoroTimeoutError, match=rf"no live worker serves that: start one on this .*/{own}\)"):
            sent.get(timeout=0)
        sent.revoke()
        assert (sent.state, known.state) == ("REVOKED", "REVOKED")
        with pytest.raises(TaskRevokedError):
            known.get(timeout=30)
        assert lavoro.database is not None
        sent.forget()
    assert sent.stage is None
    assert [count(url) for url in two_urls] == [0, 0]


def test_sites_with_keys_and_routes_of_their_own(lavoro: FlaskLavoro, two_urls: tuple[str, str]) -> None:
    """In turn, from many threads: what was worked out for one site is not used for the other."""
    keys, routes = ("a" * 32, "b" * 32), ({"x": {"queue": "left"}}, {"x": {"queue": "right"}})
    apps = [
        make_app(lavoro, LAVORO={"broker_url": url, "lavoro_signing_keys": [key], "task_routes": route})
        for url, key, route in zip(two_urls, keys, routes, strict=True)
    ]

    def call(number: int) -> None:
        with apps[number % 2].app_context():
            lavoro.send_task("x")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(call, range(400)))
    for url, key, queue in zip(two_urls, keys, ("left", "right"), strict=True):
        with psycopg.connect(url) as connection:
            query = "select id, name, args::text, kwargs::text, options::text, queue from lavoro.waiting"
            found = connection.execute(query).fetchall()
        assert [row[-1] for row in found] == [queue] * 200
        for id, name, args, kwargs, options, _ in found:
            job = Job(id, name, args, kwargs, options, None, queue, 0, 1, 0, 0, EPOCH, None, False, False)
            Keyring([key], required=True).verified(job)


def test_each_site_keeps_what_was_worked_out_for_it(lavoro: FlaskLavoro) -> None:
    """Calls for two sites in turn do not read the routes anew each time, and configuring one leaves the other."""
    apps = [make_app(lavoro), make_app(lavoro)]

    def for_each(read: Callable[[], Any]) -> list[Any]:
        found = []
        for app in apps:
            with app.app_context():
                found.append(read())
        return found

    routers = for_each(lambda: lavoro.site.builders.router)
    assert for_each(lambda: lavoro.site.builders.router) == routers
    assert routers[0] is not routers[1]
    for queue in ("former", "latter"):
        for_each(lambda queue=queue: lavoro.config_from_object({"task_default_queue": queue}))
    with apps[0].app_context():
        lavoro.config_from_object({"imports": ["mine"]})
    assert for_each(lambda: (lavoro.conf.task_default_queue, lavoro.conf.imports)) == [
        ("celery", ["mine"]),
        ("latter", ()),
    ]


def test_a_task_of_the_same_name_runs_in_its_callers_application(lavoro: FlaskLavoro) -> None:
    first, second = (make_app(lavoro, NAME=name, LAVORO={"task_always_eager": True}) for name in "ab")
    for app, expected in ((first, "a"), (second, "b"), (first, "a")):
        with app.app_context():
            assert shared.delay().get() == shared() == expected
    assert shared.delay().get() == "b"


def test_each_application_may_have_a_lavoro_of_its_own() -> None:
    apps = [Flask(__name__), Flask(__name__), Flask(__name__)]
    own = [FlaskLavoro(app) for app in apps[:2]]
    plain = apps[2].extensions["celery"] = Lavoro("as in Celery's pattern")
    for app, expected in zip(apps, [*own, plain], strict=True):
        with app.app_context():
            assert shared.app is expected
            assert current_lavoro.main == expected.main


def test_another_applications_context_does_not_count(lavoro: FlaskLavoro) -> None:
    app, stranger = make_app(lavoro, NAME="ours"), Flask("stranger")
    with stranger.app_context():
        assert lavoro.flask_app is app
        assert shared() == "ours"


def test_an_application_that_is_gone_takes_its_connections_along(
    lavoro: FlaskLavoro, migrated_url: str, eventually: Eventually
) -> None:
    app = make_app(lavoro, LAVORO={"broker_url": migrated_url, "database_engine_options": {"pool_size": 1}})
    shared.delay()
    with psycopg.connect(migrated_url, autocommit=True) as connection:
        query = b"select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        assert connection.execute(query).fetchone() == (1,)
        gone = weakref.ref(app)
        make_app(lavoro)
        del app
        gc.collect()
        assert gone() is None
        assert eventually(lambda: connection.execute(query).fetchone() == (0,), timeout=30)


def test_the_engines_of_the_site_limit_a_worker(lavoro: FlaskLavoro, migrated_url: str) -> None:
    """Flask-SQLAlchemy's pools, of which there may be several, decide how many tasks run at once."""
    uri = migrated_url.replace("postgresql:", "postgresql+psycopg:")
    small = {"url": uri, "pool_size": 2, "max_overflow": 2}
    db = SQLAlchemy()
    db.init_app(make_app(lavoro, SQLALCHEMY_DATABASE_URI=uri, SQLALCHEMY_BINDS={"archive": small}))
    assert sorted(name for name, _ in lavoro.engines()) == ["Flask-SQLAlchemy", "Flask-SQLAlchemy (archive)"]
    assert smallest(lavoro.engines()) == ("Flask-SQLAlchemy (archive)", 4, 30.0)
    assert make_config(lavoro, WorkerOptions("site")).slots == 4
    db.init_app(make_app(lavoro, SQLALCHEMY_DATABASE_URI=uri))
    assert make_config(lavoro, WorkerOptions("site")).slots == 15
    lavoro.conf.lavoro_engines = [sa.create_engine(uri, pool_size=3, max_overflow=0)]
    assert make_config(lavoro, WorkerOptions("site")).slots == 3


def test_a_site_without_flask_sqlalchemy_has_no_engines(lavoro: FlaskLavoro) -> None:
    lavoro.init_app(Flask("plain"))
    assert lavoro.engines() == []
    assert make_config(lavoro, WorkerOptions("site")).slots == 100
