-- Events: which workers' tasks are told to monitors, and the events that code sends itself.

-- Whether monitors are told of the tasks of this process: the worker's option -E, or the command enable_events.
alter table {schema}.worker add column task_events boolean not null default false;

-- Monitors read the retries of the last second.
create index attempt_ended on {schema}.attempt (ended_at);

-- Only events that code sends while a monitor listens; all others are made from the rows of tasks and workers.
-- Unlogged, because an event of before a crash of the server has no reader any more.
create unlogged table {schema}.event (
    id bigint generated always as identity primary key,
    type text not null check (type <> ''),
    fields json not null default '{}' check (json_typeof(fields) = 'object'),
    sent_at timestamptz not null default clock_timestamp()
);
create index event_sent on {schema}.event (sent_at);
