"""Least privilege: each role can do what it is for, and nothing else."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from lavoro.exceptions import OperationalError
from lavoro.protocol.place import Place
from lavoro.store import queues, tasks
from lavoro.store.database import Database
from lavoro.store.schema import migrate, partitions, roles
from lavoro.store.schema.tables import tables_of
from lavoro.store.statements import FOLDER, statement
from lavoro.store.tx import Tx
from tests.postgres import Cluster
from tests.store.walk import message, registered, rows, sent_and_taken, stage_of, succeeded, value

STRANGER = "lavoro_stranger"
EVERYBODY = {"lavoro_owner", "lavoro_migrator", "lavoro_producer", "lavoro_worker", "lavoro_readonly", STRANGER}

NAMES = sorted(path.stem for path in FOLDER.glob("*.sql"))
SENDING = {
    "insert_task", "insert_task_quietly", "tell_ended", "insert_calls", "insert_tasks", "insert_placed",
    "insert_unique", "insert_canvas", "insert_chord", "save_group", "send_event",
    "count_lanes",  # reads the columns that an insert returns
}  # fmt: skip
READING = {
    "banner_facts",
    "list_schedules", "schedule_history", "sent_ticks", "skipped_beyond", "schedule_problems",
    "accepted_outcomes", "adopt_tasks", "count_due", "discover_lanes", "fetch_attempts", "future_tasks",
    "fetch_assigned", "fetch_task", "fetch_outcome", "workers_of_orphans", "gather_members", "gather_small",
    "fetch_members",
    "list_ended", "fetch_outcomes", "fetch_group", "unhandled_left", "held_behind_queues", "next_schedule",
    "left_by_workers", "fetch_startup", "find_leader", "scheduler_entries", "fetch_replies", "list_in_flight",
    "list_changes", "list_event_nodes", "list_limits", "list_holders", "count_lanes", "group_failures", "node_names",
    "list_revoked", "list_scheduled", "live_nodes", "list_stamped", "list_revoked_stamps", "remembered_stamps",
}  # fmt: skip

ANYBODY = {
    "await_calls", "mark_repeat", "list_partitions", "list_columns", "list_indexes", "list_functions", "has_right",
    "end_session", "count_older_calls",
}  # fmt: skip
"""They read nothing but the server's catalogs. A session is ended only for a user that may do so."""


INLINED = {"is_awaited", "room_of", "same_limit"}
"""Functions that read no table: one that pins its path, or is the owner's, is not inlined."""


def allowed(name: str) -> set[str]:
    """Who may run a statement: the whole table, for what is named nowhere is a worker's business."""
    if name in ANYBODY:
        return EVERYBODY
    found = {"lavoro_owner", "lavoro_migrator", "lavoro_worker"}
    return (
        found
        | ({"lavoro_producer"} if name in SENDING else set())
        | ({"lavoro_readonly"} if name in READING else set())
    )


@pytest.fixture(scope="module")
def url(cluster: Cluster, migrated_template: str) -> Iterator[str]:
    """A database in which the roles have got their rights."""
    name = cluster.create_database(template=migrated_template)
    with psycopg.connect(cluster.url(name), autocommit=True) as connection:
        connection.execute(roles.statements("lavoro").encode())
        connection.execute(roles.statements("lavoro").encode())  # it can be repeated
        if not connection.execute("select from pg_roles where rolname = %s", [STRANGER]).fetchall():
            connection.execute(f"create role {STRANGER}".encode())
    yield cluster.url(name)
    cluster.drop_database(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.dispose()


Act = Callable[[str], Tx]


@pytest.fixture
def act(database: Database) -> Iterator[Act]:
    """Return a connection that acts as that role."""
    tx = database.open("lavoro-test")

    def act(role: str) -> Tx:
        tx.connection.execute(f"set role {role}".encode())
        return tx

    yield act
    tx.connection.close()


def may(tx: Tx, text: str) -> bool:
    """Whether it is not refused for lack of rights; what else is wrong with nulls for values does not count."""
    parameters = dict.fromkeys(re.findall(r"%\((\w+)\)s", text))
    with tx.connection.transaction(force_rollback=True):
        try:
            tx.cursor.execute(text.encode(), parameters)
        except InsufficientPrivilege:
            return False
        except psycopg.Error:
            return True
    return True


@pytest.mark.parametrize("name", NAMES)
def test_who_may_run_a_statement(act: Act, name: str) -> None:
    assert {role for role in EVERYBODY if may(act(role), statement(name))} == allowed(name)


@pytest.mark.parametrize("table", [*(t.name for t in tables_of().metadata.sorted_tables), "tasks"])
def test_who_may_read_a_table(act: Act, table: str) -> None:
    found = {role for role in EVERYBODY if may(act(role), f"select * from lavoro.{table}")}
    producer = {"lavoro_producer"} if table == "meta" else set()
    assert found == EVERYBODY - {STRANGER, "lavoro_producer"} | producer


@pytest.mark.parametrize("column", ["name", "args", "kwargs", "options", "payload", "reason"])
def test_a_producer_reads_nobodys_arguments(act: Act, column: str) -> None:
    assert not may(act("lavoro_producer"), f"select {column} from lavoro.waiting")
    assert not may(act("lavoro_producer"), f"update lavoro.waiting set queue = 'mine' returning {column}")
    assert not may(
        act("lavoro_producer"), f"insert into lavoro.waiting (queue, name) values ('q', 'n') returning {column}"
    )


@pytest.mark.parametrize("column", ["attempt", "crashes", "created_at", "reason"])
def test_a_producer_sets_nothing_but_the_call(act: Act, column: str) -> None:
    assert not may(act("lavoro_producer"), f"insert into lavoro.waiting ({column}) values (null)")


def test_everything_is_the_owners_and_nothing_the_publics(act: Act) -> None:
    tx = act("none")
    owners = """
        select distinct pg_get_userbyid(owner) from (
            select relowner from pg_class where relnamespace = 'lavoro'::regnamespace
            union all select proowner from pg_proc where pronamespace = 'lavoro'::regnamespace
            union all select typowner from pg_type
            where typnamespace = 'lavoro'::regnamespace and typtype in ('d', 'c')
            union all select nspowner from pg_namespace where nspname = 'lavoro') x (owner)"""
    assert rows(tx, owners) == [("lavoro_owner",)]
    functions = "select proname, has_function_privilege('public', oid, 'execute') from pg_proc"
    found = dict(rows(tx, f"{functions} where pronamespace = 'lavoro'::regnamespace"))
    assert set(found) == {*roles.FUNCTIONS, *roles.TRIGGERS}, (
        "who may call a new function is to be said in store/roles.py"
    )
    assert not any(found.values())
    assert not value(tx, "select has_schema_privilege('public', 'lavoro', 'usage')")


def test_functions_of_the_owner_pin_their_search_path(act: Act) -> None:
    """Else a user with a schema of his own could have the owner call his functions."""
    query = "select proname, proconfig, prosecdef from pg_proc where pronamespace = 'lavoro'::regnamespace"
    for name, config, definer in rows(act("none"), query):
        assert config == ["search_path=pg_catalog, pg_temp"] or name in INLINED
        assert definer != (name in INLINED)


def test_without_the_roles_the_public_may_not_enqueue(cluster: Cluster, migrated_template: str) -> None:
    name = cluster.create_database(template=migrated_template)
    with psycopg.connect(cluster.url(name), autocommit=True) as connection:
        connection.execute("set role guarded")
        with pytest.raises(InsufficientPrivilege):
            connection.execute("select lavoro.enqueue('a.b')")
    cluster.drop_database(name)


# What each is for


def test_a_producer_sends_canvases(act: Act) -> None:
    tx, barrier = act("lavoro_producer"), uuid.uuid4()
    blocker = message(queue="canvas")
    blocked = message(queue="canvas", place=Place(None, None, 1, (blocker.id,)))
    body = message(queue="canvas", place=Place(held_for=barrier, expects=1))
    tasks.insert(tx, [blocker])
    sent = [blocked, message(queue="canvas", place=Place(f'{{"{barrier}":0}}')), body]
    tasks.insert(tx, sent)
    tasks.insert(tx, sent, repeated=True)
    act("none")
    assert {row[0] for row in rows(tx, "select id from lavoro.held")} >= {blocked.id, body.id}


def test_a_producer_sends(act: Act) -> None:
    tx = act("lavoro_producer")
    sent = [message() for _ in range(4)]
    tasks.insert(tx, sent[:1])
    tasks.insert(tx, sent[:1])  # a repeat
    tasks.insert(tx, sent[1:3])
    tasks.insert(tx, sent[3:], always_wake=True)
    tasks.insert(tx, sent, repeated=True)
    id = value(tx, "select lavoro.enqueue('a.b', '[1]', queue => 'q')")
    assert [stage_of(act("lavoro_readonly"), one) for one in [*(m.id for m in sent), id]] == ["waiting"] * 5
    assert tasks.revoke(act("lavoro_worker"), [one.id for one in sent], cancel="{}") == 4


def test_a_worker_does_all_of_its_work(act: Act, database: Database) -> None:
    tx = act("lavoro_worker")
    worker_id = registered(tx)
    job = sent_and_taken(tx, worker_id=worker_id)
    assert tasks.finish(tx, worker_id, [succeeded(job)]) == 1
    [name] = partitions.make_ahead(tx, {"finished_success": 3600.0})[:1] or [None]
    moment = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    old = partitions.make(tx, "attempt", moment, moment + dt.timedelta(days=1))
    assert old == "attempt_20200101t000000"
    assert partitions.drop_behind(tx, {"attempt": 86_400.0}) == [old]
    assert name is None or name.startswith("finished_success_")


@pytest.mark.parametrize(
    "name", ["finished_success_rest", "finished_success", "waiting", "nothing", "x; drop table lavoro.meta"]
)
def test_a_worker_drops_nothing_but_partitions(act: Act, name: str) -> None:
    with pytest.raises(psycopg.errors.NoDataFound):
        act("lavoro_worker").run("drop_old_partition", {"name": name})


def test_a_worker_makes_partitions_of_nothing_else(act: Act) -> None:
    moment = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="waiting has no partitions"):
        act("lavoro_worker").run("attach_partition", {"kind": "waiting", "begins": moment, "ends": moment})


def of(url: str, user: str) -> Database:
    return Database(url.replace("postgres@", f"{user}@"))


@pytest.fixture
def user(cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Makes users that may log in and are members of a role."""
    made: list[str] = []

    def user(role: str) -> str:
        name = f"user_of_{role}"
        cluster.execute(f"create role {name} login in role {role}")
        made.append(name)
        return name

    yield user
    for name in made:
        cluster.execute(f"drop role {name}")


def test_what_people_ask_for(url: str, user: Callable[[str], str]) -> None:
    """The queries that are not files: status is for readers, pausing and purging for workers."""
    reader, worker, producer = (of(url, user(f"lavoro_{role}")) for role in ("readonly", "worker", "producer"))
    for database in (reader, worker):
        queues.queue_status(database)
        queues.worker_status(database)
        migrate.check(database)
    queues.pause(worker, ["q"])
    queues.resume(worker, ["q"])
    queues.purge(worker, ["q"])
    for database, call in (
        (reader, lambda d: queues.pause(d, ["q"])), (reader, lambda d: queues.purge(d, ["q"])),
        (producer, queues.queue_status), (producer, lambda d: queues.purge(d, ["q"])),
    ):  # fmt: skip
        with pytest.raises(OperationalError, match="permission denied"):
            call(database)
    migrate.check(producer)
    for database in (reader, worker, producer):
        database.dispose()


def test_a_migrator_makes_what_the_owner_has(
    url: str, user: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "create table lavoro.later (id integer); create function lavoro.later() returns int language sql as 'select 1';"
    )
    latest = migrate.migrations()[-1][0]
    more = [*migrate.migrations(), (latest + 1, "later", text)]
    monkeypatch.setattr(migrate, "migrations", lambda: more)
    database = of(url, user("lavoro_migrator"))
    assert migrate.migrate(database) == [f"{latest + 1:04} later"]
    tx = database.open("lavoro-test")
    query = "select tableowner from pg_tables where schemaname = 'lavoro' and tablename = 'later'"
    assert value(tx, query) == "lavoro_owner"
    tx.connection.execute("drop function lavoro.later")
    tx.connection.close()


def test_a_worker_may_migrate_a_schema_that_is_up_to_date(url: str, user: Callable[[str], str]) -> None:
    """Nothing is missing, and the functions are its owner's business."""
    assert migrate.migrate(of(url, user("lavoro_worker"))) == []


def test_someone_who_is_no_superuser_can_give_the_rights(cluster: Cluster, database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    cluster.execute("create role admin login createrole")
    cluster.execute("create schema shop authorization admin", dbname=name)
    cluster.execute(f"grant create on database {name} to admin")
    database = Database(database_url.replace("postgres@", "admin@"), schema="shop")
    migrate.migrate(database)
    tx = database.open("lavoro-test")
    tx.connection.execute(roles.statements("shop").encode())
    assert (
        value(tx, "select tableowner from pg_tables where schemaname = 'shop' and tablename = 'waiting'")
        == "shop_owner"
    )
    assert value(
        tx, "select has_function_privilege('shop_producer', p.oid, 'execute') from pg_proc p where proname = 'enqueue'"
    )
    tx.connection.close()
    cluster.execute("drop schema shop cascade; drop owned by admin", dbname=name)
    for role in ("producer", "worker", "readonly", "migrator", "owner"):
        cluster.execute(f"drop role shop_{role}")
    cluster.execute("drop role admin")


# What the doctor asks


@pytest.mark.parametrize("role", roles.LIMITED)
def test_each_role_has_its_rights_and_none_beyond(act: Act, role: str) -> None:
    tx = act(f"lavoro_{role}")
    assert roles.held(tx, roles.rights(role)) == roles.rights(role)
    assert roles.held(tx, roles.excluded(role)) == []


def test_an_owner_has_too_many_and_a_stranger_none(act: Act) -> None:
    for role in roles.LIMITED:
        assert roles.held(act("lavoro_owner"), roles.excluded(role)) == roles.excluded(role)
        assert roles.held(act(STRANGER), roles.rights(role)) == []
