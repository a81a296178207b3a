-- Writes a mark into the server's log, so that this commit waits for the standby as that of the first call would have done.
-- A repeat that finds all stored writes nothing else, and a transaction that wrote nothing waits for nobody.
select pg_logical_emit_message(true, 'lavoro_repeat', '')
