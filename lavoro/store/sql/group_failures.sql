-- Groups the failed tasks of a time by their name and the class of their error; reads the latest ones, at most `most`.
-- With each group come the id and the message of its last task, and the number and the earliest end of all read.
with read as materialized (
    select f.id, f.queue, f.name, f.options, f.result, f.finished_at, coalesce(f.result->>'exc_type', '') as error
    from {schema}.finished f
    where f.state not in ('SUCCESS', 'IGNORED') and f.queue <> ''  -- the others are steps that were never sent
        and f.finished_at >= %(since)s::timestamptz and f.finished_at < %(until)s::timestamptz
    order by f.finished_at desc nulls last limit %(most)s  -- the order of the index, see its migration
), wanted as (
    select r.*, row_number() over (partition by r.name, r.error order by r.finished_at desc) as place
    from read r
    where (%(queues)s::text[] is null or r.queue = any (%(queues)s::text[]))
        and (%(name)s::text is null or r.name like %(name)s::text)
        and (%(errors)s::text[] is null or r.error = any (%(errors)s::text[]))
), grouped as (
    select
        name, error, count(*) as tasks, min(finished_at) as first, max(finished_at) as last,
        (array_agg(coalesce(options->>'task_id', id::text)) filter (where place = 1))[1] as example,
        (array_agg(left((result->'exc_message')::text, 1001)) filter (where place = 1))[1] as message
    from wanted group by name, error
)
select g.name, g.error, g.tasks, g.first, g.last, g.example, g.message, total.tasks, total.first
from (select count(*) as tasks, min(finished_at) as first from read) total
left join grouped g on true
order by g.tasks desc, g.last desc
