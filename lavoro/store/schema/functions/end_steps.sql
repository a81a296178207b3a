-- Ends the steps behind tasks in their chains with the state and the error of the task: they will not be sent.
create or replace function {schema}.end_steps(p_ends {schema}.ending[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    ended_ones bigint;
begin
    with ended as (
        insert into {schema}.finished (
            id, state, queue, priority, attempt, retries, crashes,
            due_at, created_at,
            name, result
        )
        select
            s.p_id, e.state, '', 0, 0, 0, 0,
            clock_timestamp(), clock_timestamp(),
            s.p_name, e.result
        from unnest(p_ends) e cross join lateral {schema}.steps_behind(e.options) s
        returning id
    )
    select count(pg_notify('{prefix}_done', id::text)) into ended_ones from ended;
end $$;

revoke all on function {schema}.end_steps from public;
