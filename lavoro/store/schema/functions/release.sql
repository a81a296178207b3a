-- Moves the tasks that these barriers hold from held to waiting; returns how many there were.
-- The caller has locked the barriers, and marked them as ended. For `p_joined` see count_members.
create or replace function {schema}.release(p_barriers uuid[], p_joined boolean) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tasks {schema}.waiting[];
begin
    if p_barriers is null then
        return 0;
    end if;
    with freed as (
        delete from {schema}.held h where h.ctid = any (array(
            select h.ctid
            from unnest(p_barriers) e (id)
            cross join lateral (select b.task_id from {schema}.barrier b where b.id = e.id offset 0) b
            cross join lateral (
                select h.ctid from {schema}.held h where h.id = b.task_id and h.barrier = e.id for update offset 0
            ) h
        ))
        returning h.*
    )
    select array_agg(row(
        f.id, f.queue, f.priority, f.attempt, f.retries, f.crashes,
        greatest(f.due_at, clock_timestamp() + coalesce(f.countdown, 0) * interval '1 second'),
        least(f.created_at, clock_timestamp()),
        coalesce(f.expires_at, clock_timestamp() + f.expires_in * interval '1 second'),
        f.name, f.args, f.kwargs, f.options, f.payload, f.reason, f.barriers, f.keys
    )::{schema}.waiting)
    from freed f into tasks;
    if tasks is null then
        return 0;
    end if;
    perform {schema}.admit(tasks, not p_joined, p_joined);
    return cardinality(tasks);
end $$;

revoke all on function {schema}.release from public;
