-- Reads the outcome of one finished task; this is fetch_task for a caller that waits, which takes half of its time.
select state, result::text, result_payload, traceback, children::text, finished_at
from {schema}.finished
where id = %(id)s
-- A call may reuse the id of a finished task.
order by finished_at desc limit 1
