-- Gives a limit these terms, which calls do not change any more; null: no limit of that kind.
insert into {schema}.limit_state as l (key, running, rate, per, burst, fixed)
values (%(key)s, %(running)s, %(rate)s, %(per)s, %(burst)s, true)
on conflict (key) do update
set running = excluded.running, rate = excluded.rate, per = excluded.per, burst = excluded.burst, fixed = true
