"""Row 27: everything works through PgBouncer in transaction mode, with and without a way past it."""

from __future__ import annotations

import pytest

from benchmarks.stage.pgbouncer import pooled
from benchmarks.values import Skipped
from tests.faults.trial import Trial

pytestmark = pytest.mark.slow
TICKING = (
    "insert into lavoro.schedule (name, task, args, timing, overlap)"
    " values ('often', 'echo', '[\"tick\"]', '@every 0.5s', 'allow')"
)


@pytest.mark.parametrize("direct", [False, True])
def test_through_a_pooler(trial: Trial, direct: bool) -> None:
    """No statement belongs to a session; what is lost is notifications, unless a direct way is given."""
    settings = {"lavoro_pooled": True, "lavoro_poll_interval": 0.3}
    try:
        with pooled(trial.url) as url:
            worker = trial.worker(
                "-c", "4", url=url, settings=settings | ({"lavoro_direct_url": trial.url} if direct else {})
            )
            producer = trial.producer(url=url, lavoro_pooled=True, kinds=("plain", "many", "retry", "eta", "revoke"))
            trial.rows(TICKING)
            for _ in range(40):
                producer.operate()
            ticked = "select count(*) >= 6 from lavoro.tick"
            trial.until(lambda: trial.rows(ticked) == [(True,)], why="the schedule has ticked")
            trial.rows("update lavoro.schedule set paused_at = clock_timestamp()")
            trial.drain()
            assert ("workers poll" in worker.log) == (not direct)
            trial.stop()
    except Skipped as reason:
        pytest.skip(str(reason))
    trial.verify(slots=4, fault_free=True)
