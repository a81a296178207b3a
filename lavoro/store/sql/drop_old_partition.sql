-- Drops one partition with all its rows.
select lavoro.drop_partition(%(name)s::text)
