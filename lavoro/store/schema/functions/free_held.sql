-- Moves up to `p_most` tasks that a limit holds back to waiting, best first, while it has room; returns how many.
-- The caller has locked the limit. The tasks are counted when they are claimed: until then they have no slot.
create or replace function {schema}.free_held(p_key text, p_most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    most integer;
    freed integer;
    queues text[];
begin
    select least(
        p_most, {schema}.room_of(l.running, l.taken, l.rate, l.per, l.burst, l.paid_until, l.paused_until)
    )
    from {schema}.limit_state l where l.key = p_key into most;
    if coalesce(most, 0) <= 0 then
        return 0;
    end if;
    with gone as (
        delete from {schema}.held h where h.ctid = any (array(
            select h.ctid from {schema}.held h where h.limited_by = p_key
            order by h.priority desc, h.due_at limit most for update skip locked
        ))
        returning h.*
    ), stored as (
        insert into {schema}.waiting (
            id, queue, priority, attempt, retries, crashes,
            due_at, created_at, expires_at,
            name, args, kwargs, options, payload, reason, barriers, keys
        )
        select
            id, queue, priority, attempt, retries, crashes,
            least(due_at, clock_timestamp()), least(created_at, clock_timestamp()), expires_at,
            name, args, kwargs, options, payload, reason, barriers, keys
        from gone
        -- A call may have reused the id meanwhile: one of the two tasks is enough.
        on conflict (id) do nothing
    )
    select count(*), array_agg(distinct g.queue) from gone g into freed, queues;
    perform pg_notify('{prefix}_wake', 'back:' || q.queue) from unnest(queues) q (queue);
    if freed < most then
        update {schema}.limit_state l set holds = false
        where l.key = p_key and not exists (select from {schema}.held h where h.limited_by = p_key);
    end if;
    return freed;
end $$;

revoke all on function {schema}.free_held from public;
