-- Records ticks and returns those that no worker has recorded before.
insert into {schema}.tick (schedule, due_at, until_at, times, outcome, late, reason, task_id)
select * from unnest(
    %(schedule)s::text[], %(due_at)s::timestamptz[], %(until_at)s::timestamptz[], %(times)s::integer[],
    %(outcome)s::text[], %(late)s::boolean[], %(reason)s::text[], %(task_id)s::uuid[]
)
on conflict (schedule, due_at) do nothing
returning schedule, due_at
