-- Renews the leases of a node's live children, and tells what else the node has to know: an idle one asks nothing else.
-- A worker that is missing among the renewed has been given up by others.
with renewed as (
    update lavoro.worker set seen_at = clock_timestamp()
    where id = any (%(ids)s::bigint[]) and stopped is null
    returning id
)
select 'renewed' as what, id as worker_id, null::uuid as id, null::int as attempt, null::text as how from renewed
union all
select 'cancel', worker_id, id, attempt, cancel from lavoro.running
where worker_id = any (%(ids)s::bigint[]) and cancel is not null
union all
select 'expired', null, null, null, null where exists (
    select from lavoro.worker
    where stopped is null and seen_at + lease < clock_timestamp() and id <> all (%(ids)s::bigint[]))
