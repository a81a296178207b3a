-- Lists the ids whose tasks have finished.
-- One index look-up for each id: a join reads a whole new partition while it has no statistics.
select w.id from unnest(%(ids)s::uuid[]) as w (id)
where (select count(*) from {schema}.finished f where f.id = w.id) > 0
