-- Prepared transactions that are older than patience.
select gid, owner, extract(epoch from clock_timestamp() - prepared)::float8, age(transaction)
from pg_prepared_xacts where database = current_database()
    and prepared < clock_timestamp() - %(patience)s::float8 * interval '1 second'
order by prepared
