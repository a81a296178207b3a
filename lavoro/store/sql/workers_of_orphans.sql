-- Lists the workers of orphans. A claim that was running while its lease was ended leaves such tasks.
select distinct r.worker_id from {schema}.running r
-- Evaluated first, and once: otherwise every check would read all of running, with its dead rows.
where (
        %(ever)s::boolean
        or exists (select from {schema}.worker s where s.stopped_at > statement_timestamp() - interval '10 minutes')
    )
    -- A start in the future means that the clock was set back.
    and (r.started_at < clock_timestamp() - interval '1 minute' or r.started_at > clock_timestamp())
    and not exists (select from {schema}.worker w where w.id = r.worker_id and w.stopped_at is null)
