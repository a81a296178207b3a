-- Changes tasks that wait or are held: their queue, their priority or the time from which they may start.
-- `now`: a task for later is due at once; `held`: held tasks are changed too.
with changed as (
    -- Rows are locked in the order of ids, as in finish_tasks.
    update {schema}.waiting w set
        queue = coalesce(%(queue)s::text, w.queue),
        priority = coalesce(%(priority)s::int2, w.priority),
        due_at = case when %(now)s then least(w.due_at, clock_timestamp())
            when %(due)s::timestamptz is not null then greatest(%(due)s::timestamptz, clock_timestamp())
            else w.due_at end
    where w.ctid = any (array(
        select ctid from {schema}.waiting where id = any (%(ids)s::uuid[]) order by id for update))
    returning id, queue
), held as (
    update {schema}.held h set
        queue = coalesce(%(queue)s::text, h.queue),
        priority = coalesce(%(priority)s::int2, h.priority),
        due_at = coalesce(%(due)s::timestamptz, h.due_at),
        -- Seconds from the release on would count instead of the time.
        countdown = case when %(due)s::timestamptz is null then h.countdown end
    where %(held)s and h.ctid = any (array(
        select ctid from {schema}.held where id = any (%(ids)s::uuid[]) order by id for update))
    returning id
), woken as (
    -- "back" makes claimers scan below their lower bounds: a task may be older than their last claim.
    select count(pg_notify('{prefix}_wake', 'back:' || q.queue)) from (select distinct queue from changed) q
)
select id from changed cross join woken
union all
select id from held
