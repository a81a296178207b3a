-- Stores tasks as waiting and notifies workers that sleep on their queues.
-- `p_assign`: a task that is due goes straight to a worker that has offered a slot, as in assign_task.
-- `p_always`: notifies in any case, because a worker may fall asleep before the caller's transaction commits.
create or replace function {schema}.admit(p_tasks {schema}.waiting[], p_assign boolean, p_always boolean)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tasks {schema}.waiting[] := p_tasks;
    lane record;
    task {schema}.waiting;
    assigned uuid[];
begin
    for lane in
        select t.queue, t.priority, bool_or(t.due_at > clock_timestamp()) as later from unnest(tasks) t
        group by t.queue, t.priority order by t.queue, t.priority
    loop
        continue when not p_always and not {schema}.is_awaited('{prefix}_queue:' || lane.queue);
        if p_assign then
            for task in
                select t.* from unnest(tasks) t
                where t.queue = lane.queue and t.priority = lane.priority and t.due_at <= clock_timestamp()
                    and t.payload is null and t.expires_at is null and t.attempt = 0 and t.retries = 0
                    and t.keys is null
                limit 10
            loop
                exit when not {schema}.assign(task);
                assigned := assigned || task.id;
            end loop;
        end if;
        perform pg_notify('{prefix}_wake',
            case when lane.later then 'later:' else 'due:' end || lane.priority || ':' || lane.queue)
        where assigned is null or exists (
            select from unnest(tasks) t
            where t.queue = lane.queue and t.priority = lane.priority and not t.id = any (assigned)
        );
    end loop;
    insert into {schema}.waiting (
        id, queue, priority, attempt, retries, crashes,
        due_at, created_at, expires_at,
        name, args, kwargs, options, payload, reason, barriers, keys
    )
    select
        t.id, t.queue, t.priority, t.attempt, t.retries, t.crashes,
        t.due_at, t.created_at, t.expires_at,
        t.name, t.args, t.kwargs, t.options, t.payload, t.reason, t.barriers, t.keys
    from unnest(tasks) t
    where assigned is null or not t.id = any (assigned)
    -- One of two tasks with the same id is enough, and both are counted.
    on conflict (id) do update set barriers = coalesce(waiting.barriers, '{}') || excluded.barriers
    where excluded.barriers is not null;
end $$;

revoke all on function {schema}.admit from public;
