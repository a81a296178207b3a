-- Divides the barriers of a task that ends: '' has those that its end counts, the id of a message those it takes over.
-- The last step of a chain is that of the heir. A step by its id is a message, or stands in the options of one.
create or replace function {schema}.hand_on(
    p_id uuid,
    p_barriers jsonb,
    p_heir uuid,
    p_replaced boolean,
    p_ids uuid[],
    p_options text[]
) returns jsonb language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    with mark as (
        select
            b.key as barrier, s.key as step, s.value as index,
            case
                when s.key = '' then coalesce(p_heir::text, '')
                when s.key = p_id::text and not p_replaced then ''
                when s.key::uuid = any (p_ids) then s.key --@step
                else coalesce(
                    (
                        select m.id::text from unnest(p_ids, p_options) m (id, options)
                        where strpos(m.options, s.key) > 0 order by m.id = p_heir desc limit 1
                    ),
                    p_heir::text, ''
                )
            end as heir
        from jsonb_each(p_barriers) b
        cross join lateral jsonb_each(
            case jsonb_typeof(b.value) when 'object' then b.value else jsonb_build_object('', b.value) end
        ) s
    ), share as (
        select m.heir, m.barrier, coalesce(
            jsonb_object_agg(m.step, m.index) filter (where m.step <> ''), jsonb_agg(m.index)->0
        ) as value
        from mark m group by m.heir, m.barrier
    ), heir as (
        select s.heir, jsonb_object_agg(s.barrier, s.value) as barriers from share s group by s.heir
    )
    select jsonb_object_agg(h.heir, h.barriers) from heir h
$$;

revoke all on function {schema}.hand_on from public;
