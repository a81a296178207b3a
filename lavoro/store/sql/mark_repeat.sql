-- Writes a mark into the write-ahead log, so that this commit waits for the standby, as that of the first call would have.
-- A repeat that finds all tasks stored writes nothing else, and a transaction that wrote nothing waits for no standby.
select pg_logical_emit_message(true, '{prefix}_repeat', '')
