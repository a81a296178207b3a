-- Lists those of the tasks that are over, with their states; a running one that has set a final state itself is.
-- `offset 0` keeps one index look-up for each id: without statistics, a join reads whole partitions.
select given.id, found.state
from unnest(%(ids)s::uuid[]) as given (id)
cross join lateral (
    (select f.state from {schema}.finished f where f.id = given.id offset 0)
    union all
    (
        select r.state from {schema}.running r
        where r.id = given.id and r.state in ('SUCCESS', 'FAILURE', 'REVOKED') offset 0
    )
) as found
