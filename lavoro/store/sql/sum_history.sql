-- Sums a shorter period to a longer one, of `seconds`: all of the longer ones that a span touches; each number is set.
insert into {schema}.history as h
    (period, bucket, queue, name, state, tasks, retries, crashes, runtime, waited, longest)
select
    %(longer)s, date_bin(s.width, p.bucket, '2000-01-01 00:00+00'), p.queue, p.name, p.state,
    sum(p.tasks), sum(p.retries), sum(p.crashes), sum(p.runtime), sum(p.waited), max(p.longest)
from (select %(seconds)s::integer * interval '1 second' as width) s
cross join {schema}.history p
where p.period = %(shorter)s
    and p.bucket >= date_bin(s.width, %(begins)s::timestamptz, '2000-01-01 00:00+00')
    and p.bucket < date_bin(s.width, %(ends)s::timestamptz - interval '1 microsecond', '2000-01-01 00:00+00') + s.width
group by 2, 3, 4, 5
on conflict (period, bucket, queue, name, state) do update set
    tasks = excluded.tasks, retries = excluded.retries, crashes = excluded.crashes,
    runtime = excluded.runtime, waited = excluded.waited, longest = excluded.longest
where excluded.tasks > h.tasks
returning 1
