-- Tells the workers that schedules have changed.
create or replace function {schema}.tell_schedules() returns trigger language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_notify('{prefix}_wake', 'schedules:');
    return null;
end $$;

revoke all on function {schema}.tell_schedules from public;

create or replace trigger tell_schedules after insert or delete or update of
    task, timing, zone, in_code, starts_at, ends_at, jitter, most_runs, paused_at
    on {schema}.schedule for each statement execute function {schema}.tell_schedules();
