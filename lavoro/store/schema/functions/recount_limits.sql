-- Sets the counts of limits to what runs, and frees tasks that they hold; returns how many counts were wrong.
-- Null for `p_key`: all limits that count a task or hold one. Under the lock of a limit no claim and no end counts.
create or replace function {schema}.recount_limits(p_key text) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    limit_ {schema}.limit_state;
    runs integer;
    wrong integer := 0;
begin
    for limit_ in
        select l.* from {schema}.limit_state l
        where l.key = p_key or (p_key is null and l.running is not null and (l.taken > 0 or l.holds))
        order by l.key for update
    loop
        -- One statement for each limit: its snapshot is newer than the lock.
        select count(*) from {schema}.running r where r.keys->'limits' ? limit_.key into runs;
        if limit_.running is not null and runs <> limit_.taken then
            update {schema}.limit_state l set taken = runs where l.key = limit_.key;
            wrong := wrong + 1;
        end if;
        perform {schema}.free_held(limit_.key, 1000) where limit_.holds;
    end loop;
    return wrong;
end $$;

revoke all on function {schema}.recount_limits from public;
