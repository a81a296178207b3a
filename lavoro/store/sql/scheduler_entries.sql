-- Returns when the entries of an application's scheduler class were sent last.
select name, last_at, runs from {schema}.scheduler_entry where app = %(app)s
