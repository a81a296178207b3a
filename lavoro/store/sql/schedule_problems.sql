-- Returns the schedules that are late by more than some seconds, whose tasks no worker knows, or that have an error.
-- A schedule without a worker that sends any is a problem only when it is late: another process may send it.
with live as materialized (
    select tasks from {schema}.worker
    where stopped_at is null and expires_at > clock_timestamp() and runs_schedules
), known as materialized (
    select distinct unnest(tasks) as task from live
), looked as (
    select
        s.name, s.task, s.error, s.origin,
        extract(epoch from clock_timestamp() - case when s.next_at is null then s.since else s.due_at end)::float8
            as seconds,
        s.due_at is not null as comes,
        exists (select from live) as served,
        starts_with(s.task, 'celery.') or exists (select from known k where k.task = s.task) as known
    from {schema}.schedule s
    where s.paused_at is null
), found as (
    select name, task, error, origin, case when comes and seconds > %(late)s::float8 then seconds end as late,
        case
            when comes and not served and seconds > %(late)s::float8 then 'unserved'
            when comes and served and not known then 'unknown'
            when comes and seconds > %(late)s::float8 then 'late'
            when error is not null then 'error'
        end as kind
    from looked
)
select name, task, kind, late, error, origin from found where kind is not null order by name limit %(limit)s
