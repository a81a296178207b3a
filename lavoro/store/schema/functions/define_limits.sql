-- Makes the limits of these tasks, and gives those that exist the terms of the last task; an operator's terms stay.
create or replace function {schema}.define_limits(p_keys jsonb[]) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into {schema}.limit_state as l (key, running, rate, per, burst)
    select distinct on (t.key)
        t.key, (t.value->>'running')::integer, (t.value->>'rate')::integer,
        (t.value->>'per')::double precision, (t.value->>'burst')::integer
    from unnest(p_keys) with ordinality k (keys, number) cross join lateral jsonb_each(k.keys->'limits') t
    order by t.key, k.number desc
    on conflict (key) do update
    set running = excluded.running, rate = excluded.rate, per = excluded.per, burst = excluded.burst
    where not l.fixed
$$;

revoke all on function {schema}.define_limits from public;
