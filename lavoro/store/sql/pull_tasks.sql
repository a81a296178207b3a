-- Moves up to `limit` tasks that lie in the future back by `seconds`, in their order, and wakes the workers of their queues.
with ahead as materialized (
    select ctid as tid from lavoro.waiting where created > clock_timestamp() and due <= created
    limit %(limit)s for update skip locked
), pulled as (
    update lavoro.waiting set due = due - %(seconds)s::float8 * interval '1 second',
        created = created - %(seconds)s::float8 * interval '1 second'
    where ctid = any (array(select tid from ahead)) returning queue
), woken as (
    select count(pg_notify('lavoro_wake', '!' || q.queue)) from (select distinct queue from pulled) q
)
select count(*), (select * from woken) from pulled
