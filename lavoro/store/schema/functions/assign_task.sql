-- Stores one task that is due at once, and returns true if no worker sleeps on its queue.
-- If a worker sleeps, it assigns the task to a worker that has offered a slot, in the same transaction.
-- Without an offer it inserts the task as waiting and notifies the sleeping workers. It fails if the id is taken.
create or replace function {schema}.assign_task(
    p_id uuid,
    p_queue {schema}.nonempty_text,
    p_priority smallint,
    p_name {schema}.nonempty_text,
    p_args json,
    p_kwargs json,
    p_options json
) returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    notified text;
begin
    if not {schema}.is_awaited('{prefix}_queue:' || p_queue) then
        insert into {schema}.waiting (id, queue, priority, name, args, kwargs, options)
        values (p_id, p_queue, p_priority, p_name, p_args, p_kwargs, p_options);
        return true;
    end if;
    -- A caller that lost the answer waits for this lock before it repeats the call. No index of waiting shows the task.
    perform pg_advisory_xact_lock(hashtextextended('{prefix}_call:' || p_id, 0));
    with taken as (
        delete from {schema}.offer o where o.ctid = (
            select ctid from {schema}.offer
            where queue = p_queue and until > statement_timestamp()
                -- The conditions of a claim, and no task of this id is waiting.
                and not exists (select from {schema}.queue q where q.name = p_queue and q.paused_at is not null)
                and not exists (select from {schema}.revoked r where r.id = p_id)
                and not exists (select from {schema}.waiting w where w.id = p_id)
            -- Newest first: under a held snapshot, used and expired offers remain as dead index entries at the old end.
            order by until desc limit 1 for update skip locked
        )
        returning o.worker_id
    )
    insert into {schema}.running (
        id, worker_id, queue, priority, attempt, retries, crashes,
        due_at, created_at,
        name, args, kwargs, options
    )
    select
        p_id, t.worker_id, p_queue, p_priority, 1, 0, 0,
        clock_timestamp(), clock_timestamp(),
        p_name, p_args, p_kwargs, p_options
    from taken t
    -- The notification has an id and no arguments: every user that may connect may listen.
    returning pg_notify('{prefix}_assigned_' || running.worker_id, running.id::text) into notified;
    if not found then
        insert into {schema}.waiting (id, queue, priority, name, args, kwargs, options)
        values (p_id, p_queue, p_priority, p_name, p_args, p_kwargs, p_options);
        perform pg_notify('{prefix}_wake', 'due:' || p_priority || ':' || p_queue);
    end if;
    return false;
end $$;

revoke all on function {schema}.assign_task from public;
