-- Gives a task that is due to a worker that has offered a slot; returns false if there is no offer.
create or replace function {schema}.assign(p_task {schema}.waiting)
returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    with taken as (
        delete from {schema}.offer o where o.ctid = (
            select ctid from {schema}.offer
            where queue = p_task.queue and until > statement_timestamp()
                -- The conditions of a claim, and no task of this id is waiting.
                and not exists (select from {schema}.queue q where q.name = p_task.queue and q.paused_at is not null)
                and not exists (select from {schema}.revoked r where r.id = p_task.id)
                and not exists (select from {schema}.waiting w where w.id = p_task.id)
                and not exists (select from {schema}.running r where r.id = p_task.id)
            order by until desc limit 1 for update skip locked
        )
        returning o.worker_id
    ), begun as (
        insert into {schema}.running (
            id, worker_id, queue, priority, attempt, retries, crashes,
            due_at, created_at,
            name, args, kwargs, options, barriers
        )
        select
            p_task.id, t.worker_id, p_task.queue, p_task.priority, 1, 0, 0,
            p_task.due_at, p_task.created_at,
            p_task.name, p_task.args, p_task.kwargs, p_task.options, p_task.barriers
        from taken t
        returning worker_id
    )
    select pg_notify('{prefix}_assigned_' || b.worker_id, p_task.id::text) from begun b into p_task.reason;
    return found;
end $$;

revoke all on function {schema}.assign from public;
