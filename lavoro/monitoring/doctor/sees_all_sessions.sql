-- Whether the connected user sees the sessions of other users.
select pg_has_role('pg_read_all_stats', 'usage')
