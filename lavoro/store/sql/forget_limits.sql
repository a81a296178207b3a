-- Deletes limits that no task has used for a day and no operator has set, and unique keys whose time is over.
with limits as (
    delete from {schema}.limit_state l where l.ctid = any (array(
        select l.ctid from {schema}.limit_state l
        where not l.fixed and not l.holds and l.taken = 0 and l.used_at < clock_timestamp() - interval '1 day'
            and (l.paused_until is null or l.paused_until < clock_timestamp())
            and l.paid_until < clock_timestamp()
        order by l.key limit 10000 for update skip locked
    ))
    returning 1
), keys as (
    delete from {schema}.unique_key u where u.ctid = any (array(
        select u.ctid from {schema}.unique_key u where u.expires_at <= clock_timestamp()
        order by u.expires_at limit 10000 for update skip locked
    ))
    returning 1
)
select (select count(*) from limits), (select count(*) from keys)
