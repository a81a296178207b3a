-- Moves tasks that limits hold back to waiting, as far as these have room; returns the seconds until the next look.
-- That is the next start of a rate, the end of a pause, or 5 seconds. Null: no limit holds a task.
create or replace function {schema}.free_limits() returns double precision
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    limit_ {schema}.limit_state;
    next_room double precision;
    seen text[];
begin
    for limit_ in select l.* from {schema}.limit_state l where l.holds order by l.key for update skip locked loop
        seen := seen || limit_.key;
        perform {schema}.free_held(limit_.key, 1000);
        select least(next_room, greatest(0.001, extract(epoch from greatest(
            limit_.paused_until,
            limit_.paid_until + (1 - limit_.burst) * limit_.per / limit_.rate * interval '1 second'
        ) - clock_timestamp())))
        where limit_.paused_until > clock_timestamp() or limit_.rate > 0
        into next_room;
    end loop;
    return (
        select least(
            coalesce(next_room, 5), 5,
            -- One that a claim has locked may have room as soon as the claim commits.
            case when bool_or(l.rate > 0 and l.key <> all (coalesce(seen, '{}'))) then 0.02 end
        )
        from {schema}.limit_state l where l.holds having count(*) > 0
    );
end $$;

revoke all on function {schema}.free_limits from public;
