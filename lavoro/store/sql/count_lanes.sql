-- Counts the due and the later tasks of each queue, up to `most` of each lane; and the seconds since the first was due.
-- It jumps through the index from lane to lane, over at most `lanes` of them.
with recursive lane as (
    (select w.queue, w.priority, 1 as number from {schema}.waiting w order by w.queue, w.priority desc limit 1)
    union all
    select next.queue, next.priority, lane.number + 1 from lane
    cross join lateral (
        select n.queue, n.priority from (
            (
                select w.queue, w.priority from {schema}.waiting w
                where w.queue = lane.queue and w.priority < lane.priority order by w.priority desc limit 1
            )
            union all
            (
                select w.queue, w.priority from {schema}.waiting w
                where w.queue > lane.queue order by w.queue, w.priority desc limit 1
            )
        ) n limit 1
    ) next
    where lane.number < %(lanes)s
)
select
    lane.queue::text, sum(due.number)::bigint, bool_or(due.number = %(most)s),
    sum(later.number)::bigint, bool_or(later.number = %(most)s),
    -- Not the difference of the times: up to PostgreSQL 16 it is an error if one of them is infinite.
    max(extract(epoch from statement_timestamp()) - extract(epoch from first.due_at))::float8
from lane
cross join lateral (
    select count(*) as number from (
        select from {schema}.waiting w
        where w.queue = lane.queue and w.priority = lane.priority and w.due_at <= statement_timestamp()
        limit %(most)s
    ) w
) due
cross join lateral (
    select count(*) as number from (
        select from {schema}.waiting w
        where w.queue = lane.queue and w.priority = lane.priority and w.due_at > statement_timestamp()
        limit %(most)s
    ) w
) later
left join lateral (
    select w.due_at from {schema}.waiting w
    where w.queue = lane.queue and w.priority = lane.priority and w.due_at <= statement_timestamp()
    order by w.due_at limit 1
) first on true
group by lane.queue
