-- Stores an event that code sends, and wakes the monitors; does nothing if none listens. Returns it if it is stored.
insert into {schema}.event (type, fields)
select %(type)s, %(fields)s::json
-- A monitor holds this lock shared while it listens.
where {schema}.is_awaited('{prefix}_events')
returning id, pg_notify('{prefix}_event', '')
