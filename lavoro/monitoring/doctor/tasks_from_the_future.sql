-- Tasks that were stored later than now, before the clock was set back.
select count(*), extract(epoch from max(created_at) - clock_timestamp())::float8,
    count(*) filter (where due_at <= created_at)
from {schema}.waiting where created_at > clock_timestamp()
