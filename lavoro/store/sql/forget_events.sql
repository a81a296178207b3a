-- Deletes the events that code has sent once every monitor has had a minute to read them.
delete from {schema}.event where sent_at < clock_timestamp() - interval '1 minute'
