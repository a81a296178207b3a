-- Copies every change of the four tables of tasks; for test databases only.
create schema audit;

create table audit.transition (
    seq bigint generated always as identity primary key,
    tx xid8 not null default pg_current_xact_id(),
    at timestamptz not null default clock_timestamp(),
    room text not null,
    verb "char" not null,
    id uuid not null,
    attempt integer not null,
    retries integer not null,
    crashes integer not null,
    worker_id bigint,
    state text
);

create function audit.note() returns trigger language plpgsql as $$
declare
    r jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
    insert into audit.transition (room, verb, id, attempt, retries, crashes, worker_id, state)
    values (tg_argv[0], left(tg_op, 1)::"char", (r->>'id')::uuid, (r->>'attempt')::int, (r->>'retries')::int,
        (r->>'crashes')::int, (r->>'worker_id')::bigint, r->>'state');
    return null;
end $$;

create trigger audit after insert or update or delete on lavoro.waiting
    for each row execute function audit.note('waiting');
create trigger audit after insert or update or delete on lavoro.held
    for each row execute function audit.note('held');
create trigger audit after insert or update or delete on lavoro.running
    for each row execute function audit.note('running');
create trigger audit after insert or update or delete on lavoro.finished
    for each row execute function audit.note('finished');
