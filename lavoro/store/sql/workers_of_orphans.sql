-- Returns the workers of orphans. A claim that was under way while its lease was ended leaves such tasks.
select distinct r.worker_id from {schema}.running r
-- Asked first, and once: without it all of running would be read, with the dead rows of the minutes since it was cleaned.
where (%(ever)s::boolean or exists (
        select from {schema}.worker s where s.stopped_at > statement_timestamp() - interval '10 minutes'))
    -- Or in the future: the clock was set back since.
    and (r.started_at < clock_timestamp() - interval '1 minute' or r.started_at > clock_timestamp())
    and not exists (select from {schema}.worker w where w.id = r.worker_id and w.stopped_at is null)
