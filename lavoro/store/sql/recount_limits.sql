-- Sets the count of a limit, or of all, to what runs, and frees tasks that it holds; returns how many were wrong.
select {schema}.recount_limits(%(key)s::text)
