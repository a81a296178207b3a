-- Deletes barriers that ended more than `kept` seconds ago, with their members, unless their task is stored.
-- It deletes about 100,000 members at the most; returns how many barriers.
with old as materialized (
    select b.id, b.size from {schema}.barrier b
    where b.ended_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
        and (select count(*) from {schema}.waiting t where t.id = b.task_id) = 0
        and (select count(*) from {schema}.running t where t.id = b.task_id) = 0
        and (select count(*) from {schema}.held t where t.id = b.task_id) = 0
        and (select count(*) from {schema}.finished t where t.id = b.task_id) = 0
    order by b.ended_at limit 10000 for update skip locked
), chosen as materialized (
    select o.id from (select id, sum(size) over (order by id) - size as before from old) o where o.before < 100000
), members as (
    delete from {schema}.member m where m.barrier = any (array(select id from chosen))
)
delete from {schema}.barrier b where b.id = any (array(select id from chosen))
returning b.id
