-- Tasks that wait or are held, by name and queue.
select name, queue, count(*) from (
    select name, queue from {schema}.waiting union all select name, queue from {schema}.held
) called
where not starts_with(name, 'celery.') group by name, queue order by name, queue
