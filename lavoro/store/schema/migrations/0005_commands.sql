-- Commands to nodes, each with the nodes that it is for and their replies; old ones are deleted by the retention.

create table {schema}.command (
    id bigint generated always as identity primary key,
    name text not null check (name <> ''),
    arguments json not null default '{}' check (json_typeof(arguments) = 'object'),
    -- The user and host that sent it, and the user of the database.
    sender text not null,
    session text not null default session_user,
    sent_at timestamptz not null default clock_timestamp(),
    -- A node that takes it later does not carry it out.
    expires_at timestamptz not null
);
create index command_sent on {schema}.command (sent_at);

create table {schema}.command_node (
    command_id bigint not null,
    node text not null,
    -- A node takes a command once: none is carried out twice.
    taken_at timestamptz,
    replied_at timestamptz,
    reply json,
    primary key (command_id, node)
);
create index command_open on {schema}.command_node (node) where taken_at is null;

-- Stamps whose tasks must not start, those that are sent later too; each is forgotten after a day, as a revoked id.
create table {schema}.revoked_stamp (
    header text not null,
    value jsonb not null,
    revoked_at timestamptz not null default clock_timestamp(),
    primary key (header, value)
);
