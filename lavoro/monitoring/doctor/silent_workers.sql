-- Workers that have not renewed their lease for more than half of its time.
select node || '/' || process, host, pid, extract(epoch from clock_timestamp() - seen_at)::float8,
    expires_at < clock_timestamp(), (select count(*) from {schema}.running r where r.worker_id = w.id)
from {schema}.worker w where stopped_at is null and clock_timestamp() > seen_at + (expires_at - seen_at) / 2
order by 1
