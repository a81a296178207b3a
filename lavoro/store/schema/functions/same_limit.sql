-- Returns whether a limit has these terms, as a task carries them.
create or replace function {schema}.same_limit(p_limit {schema}.limit_state, p_terms jsonb) returns boolean
language sql immutable as $$
    select (p_limit.running, p_limit.rate, p_limit.per, p_limit.burst) is not distinct from (
        (p_terms->>'running')::integer, (p_terms->>'rate')::integer,
        (p_terms->>'per')::double precision, (p_terms->>'burst')::integer
    )
$$;

revoke all on function {schema}.same_limit from public;
