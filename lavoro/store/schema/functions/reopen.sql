-- Opens the barriers anew that have counted failures of these tasks, which are about to start again.
-- Returns the barriers that count the next end of each task: {"<task>": {"<barrier>": 3}}; null if there is none.
-- A barrier whose task ended because of them holds it again, once no failure is left: a new generation of that task,
-- which may be a member in turn. A barrier whose task has started, or has ended otherwise, stays as it is.
create or replace function {schema}.reopen(p_ids uuid[]) returns jsonb
language plpgsql strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    ids uuid[] := p_ids;
    found jsonb;
    level jsonb;
    changed uuid[];
    held uuid[];
begin
    if not exists (select from {schema}.member m where m.task_id = any (p_ids) and m.state <> 'SUCCESS') then
        return null;
    end if;
    -- All of them, those above too, before the first is changed, in the order of their ids: as in lock_barriers.
    perform from {schema}.barrier b
    where b.id = any (array(
        with recursive reached (barrier) as (
            select m.barrier from {schema}.member m where m.task_id = any (p_ids) and m.state <> 'SUCCESS'
            union
            select above.barrier
            from reached r
            cross join lateral (select b.task_id from {schema}.barrier b where b.id = r.barrier offset 0) b
            cross join lateral (
                select m.barrier from {schema}.member m
                where m.task_id = b.task_id and m.state <> 'SUCCESS' offset 0
            ) above
        )
        select barrier from reached
    ))
    order by b.id for update;
    while ids is not null loop
        with note as (
            delete from {schema}.member m
            where m.task_id = any (ids) and m.state <> 'SUCCESS' and exists (
                select from {schema}.barrier b
                where b.id = m.barrier and (b.ended_at is null or (
                    -- fail_held has ended it: it never started, and its error tells of a member.
                    exists (
                        select from {schema}.finished f
                        where f.id = b.task_id and f.state = 'FAILURE' and f.started_at is null
                            and (f.result->>'exc_type' = 'ChordError' or f.name = 'celery.accumulate')
                    )
                    and not exists (select from {schema}.waiting t where t.id = b.task_id)
                    and not exists (select from {schema}.running t where t.id = b.task_id)
                    and not exists (select from {schema}.held t where t.id = b.task_id)
                ))
            )
            returning m.barrier, m.index, m.task_id
        ), opened as (
            update {schema}.barrier b set remaining = b.remaining + n.members
            from (select barrier, count(*) as members from note group by barrier) n
            where b.id = n.barrier
            returning b.id, b.ended_at
        )
        select
            (
                select jsonb_object_agg(n.task_id, n.barriers) from (
                    select task_id, jsonb_object_agg(barrier, index) as barriers from note group by task_id
                ) n
            ),
            (select array_agg(id) from opened where ended_at is not null)
        into level, changed;
        found := coalesce(found, '{}') || coalesce(level, '{}');
        -- The tasks that the last turn has put back are members in turn.
        update {schema}.held h set barriers = level->(h.id::text) where h.id = any (held) and level ? h.id::text;
        with anew as (
            update {schema}.barrier b set ended_at = null
            where b.id = any (changed) and not exists (
                select from {schema}.member m where m.barrier = b.id and m.state <> 'SUCCESS'
            )
            returning b.id, b.task_id
        ), gone as (
            delete from {schema}.finished f using anew a
            where f.id = a.task_id and f.state = 'FAILURE' and f.started_at is null
            returning f.*, a.id as barrier
        ), noted as (
            insert into {schema}.attempt (id, number, state, ended_at, reason, error)
            select g.id, g.attempt, g.state, g.finished_at, 'replayed with a task of its header', g.result from gone g
        ), handled as (
            delete from {schema}.unhandled u where u.id = any (array(select id from gone))
        ), behind as (
            delete from {schema}.finished f
            where f.queue = '' and f.id = any (array(
                select s.p_id from gone g cross join lateral {schema}.steps_behind(g.options) s
            ))
        ), stored as (
            insert into {schema}.held (
                id, queue, priority, attempt, retries, crashes, due_at, created_at,
                name, args, kwargs, options, payload, reason, barrier, keys
            )
            select
                g.id, g.queue, g.priority, g.attempt, g.retries, g.crashes, g.due_at,
                least(g.created_at, clock_timestamp()), g.name, g.args, g.kwargs, g.options, g.payload,
                'replayed', g.barrier, nullif(g.keys - 'unique', '{}')
            from gone g
            on conflict (id) do nothing
            returning id
        )
        select array_agg(id) from stored into held;
        ids := held;
    end loop;
    return nullif(found, '{}');
end $$;

revoke all on function {schema}.reopen from public;
