-- Drops one partition with all its rows.
select {schema}.drop_partition(%(name)s::text)
