"""The cost of limits: how fast one worker runs a full queue of tasks with keys, beside the same tasks without."""

from __future__ import annotations

from functools import partial

from benchmarks.stage import watch
from benchmarks.stage.hits import new_hits
from benchmarks.stage.processes import environment, migrate
from benchmarks.stage.processes import worker as worker_command
from benchmarks.stage.server import connect, empty_database, held_snapshot
from benchmarks.values import Sample, Series, Setting, Step

TASKS = 100_000
NEVER = 1_000_000
KINDS: dict[str, tuple[str, float]] = {
    "no limit": ("null::jsonb", 1),
    "one key, never full": (f"""'{{"limits": {{"hot": {{"running": {NEVER}}}}}}}'""", 1),
    "1,000 keys, never full": (
        f"""jsonb_build_object('limits', jsonb_build_object('k' || mod(i, 1000), '{{"running": {NEVER}}}'::jsonb))""",
        1,
    ),
    "1,000 keys, one at a time": (
        """jsonb_build_object('limits', jsonb_build_object('k' || mod(i, 1000), '{"running": 1}'::jsonb))""", 0.2,
    ),
    "one key, ten at a time": ("""'{"limits": {"hot": {"running": 10}}}'""", 0.1),
}  # fmt: skip
"""By the words for them, the keys of the i-th task, and the share of TASKS to run."""
FILL = """
    insert into lavoro.waiting (id, queue, name, args, keys)
    select gen_random_uuid(), 'celery', 'benchmarks.subjects.tasks.noop', '[0]', {keys}
    from generate_series(1, %s) i
"""


def steps(setting: Setting) -> list[Step]:
    """Measure each kind of key, in turns with tasks without."""
    return [partial(_drain, setting, words) for words in KINDS]


def _drain(setting: Setting, words: str) -> list[Sample | Series]:
    keys, share = KINDS[words]
    count = int(setting.scaled(TASKS) * share)
    with empty_database(setting.server) as dsn, new_hits() as hits:
        migrate(dsn)
        environment(dsn)
        with connect(dsn) as connection:
            connection.execute(FILL.format(keys=keys).encode(), (count,))
            connection.execute("analyze lavoro.waiting")
        with held_snapshot(dsn, wanted=setting.pinned):
            drained = watch.drain([worker_command(1)], dsn=dsn, hits=hits, count=count, processes=1)
    return drained.samples("lavoro", f"drain, {words}")
