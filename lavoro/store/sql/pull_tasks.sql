-- Moves up to `limit` tasks of a lane back by `seconds` after the clock was set back, and notifies the queue's workers.
-- It moves tasks that lie in the future and were due when they were stored; all move alike, so they keep their order.
with ahead as materialized (
    select ctid as tid from {schema}.waiting
    where queue = %(queue)s::text and priority = %(priority)s::int2 and due_at > statement_timestamp()
        and created_at > statement_timestamp() and due_at <= created_at
    limit %(limit)s for update skip locked
), pulled as (
    update {schema}.waiting set
        due_at = due_at - %(seconds)s::float8 * interval '1 second',
        created_at = created_at - %(seconds)s::float8 * interval '1 second'
    where ctid = any (array(select tid from ahead))
    returning queue
), woken as (
    select count(pg_notify('{prefix}_wake', 'back:' || q.queue)) from (select distinct queue from pulled) q
)
select count(*), (select * from woken) from pulled
