-- Before a schedule is changed: other times are computed anew, and ticks of the former ones are not caught up.
create or replace function {schema}.define_schedule() returns trigger language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    if (new.timing, new.zone, new.in_code, new.starts_at, new.ends_at, new.jitter, new.most_runs)
        is distinct from (old.timing, old.zone, old.in_code, old.starts_at, old.ends_at, old.jitter, old.most_runs)
        or (new.paused_at is null and old.paused_at is not null)
    then
        new.since := clock_timestamp();
        new.next_at := '-infinity';
        new.due_at := '-infinity';
    end if;
    new.error := null;
    return new;
end $$;

revoke all on function {schema}.define_schedule from public;

create or replace trigger define_schedule before update of
    task, args, kwargs, options, timing, zone, in_code, starts_at, ends_at, jitter, most_runs, paused_at
    on {schema}.schedule for each row execute function {schema}.define_schedule();
