-- Writes a record into the write-ahead log, so that this commit waits for a synchronous standby.
-- A repeat that finds all tasks stored writes nothing else, and a commit without writes waits for no standby.
-- The commit of the first call may still be waiting for one.
select pg_logical_emit_message(true, '{prefix}_repeat', '')
