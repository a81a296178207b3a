-- Ends one task that waits, runs or is held with this outcome, wherever it is; returns whether it was found.
-- Stores what follows it, counts its end, and tells the worker that runs it; the outcome of that start is refused.
create or replace function {schema}.end_task(
    p_id uuid,
    p_state text,
    p_result json,
    p_payload bytea,
    p_messages {schema}.message[],
    p_heir uuid
) returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    gone record;
    shares jsonb;
begin
    -- First, as each statement that changes a held task does.
    perform {schema}.take_places(array(select h.barrier from {schema}.held h where h.id = p_id));
    perform {schema}.lock_barriers(array(select h.barrier from {schema}.held h where h.id = p_id));
    delete from {schema}.waiting t where t.id = p_id
    returning t.*, null::bigint as worker_id, null::timestamptz as started_at, null::uuid as barrier into gone;
    if not found then
        delete from {schema}.running t where t.id = p_id returning t.*, null::uuid as barrier into gone;
    end if;
    if not found then
        delete from {schema}.held t where t.id = p_id
        returning t.*, null::bigint as worker_id, null::timestamptz as started_at into gone;
    end if;
    if not found then
        return false;
    end if;
    update {schema}.barrier b set ended_at = clock_timestamp() where b.id = gone.barrier and b.ended_at is null;
    insert into {schema}.finished (
        id, state, worker_id, queue, priority, attempt, retries, crashes,
        due_at, created_at, started_at,
        name, args, kwargs, options, payload,
        result, result_payload, keys
    )
    values (
        gone.id, p_state, gone.worker_id, gone.queue, gone.priority, gone.attempt, gone.retries, gone.crashes,
        gone.due_at, gone.created_at, gone.started_at,
        gone.name, gone.args, gone.kwargs, gone.options, gone.payload,
        p_result, p_payload, gone.keys
    );
    if p_state = 'FAILURE' then
        insert into {schema}.unhandled (id, name) values (gone.id, gone.name) on conflict (id) do nothing;
        perform pg_notify('{prefix}_wake', 'unhandled:' || gone.queue);
    end if;
    if gone.worker_id is not null then
        perform pg_notify('{prefix}_wake', 'ended:' || gone.worker_id || ':' || gone.id);
    end if;
    perform pg_notify('{prefix}_done', gone.id::text);
    shares := {schema}.hand_on(
        gone.id, gone.barriers, p_heir, false,
        array(select m.id from unnest(p_messages) m), array(select m.options::text from unnest(p_messages) m)
    );
    perform {schema}.follow(
        (
            select array_agg(row(
                m.id, m.queue, m.priority, m.attempt, m.retries,
                m.due_at, m.countdown, m.expires_at, m.expires_in,
                m.name, m.args, m.kwargs, m.options, m.payload,
                m.barriers, shares->(m.id::text),
                m.held_for, m.expects, m.policy, m.blockers, m.ancestors, m.keys
            )::{schema}.message)
            from unnest(p_messages) m
        ),
        array[row(
            gone.id, gone.options->>'task_id', shares->'', p_state, p_result, p_payload,
            case when p_state <> 'SUCCESS' then gone.options end
        )::{schema}.ending]
    );
    perform {schema}.free_keys(array[gone.id], array[gone.keys]) where gone.keys is not null;
    perform {schema}.give_slots(array[gone.keys], gone.worker_id is not null) where gone.keys is not null;
    return true;
end $$;

revoke all on function {schema}.end_task from public;
