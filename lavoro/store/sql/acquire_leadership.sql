-- Makes one node the leader for a part of the upkeep, for so many seconds; no other node gets it before their end.
-- The term counts the leaders: it tells a leader that comes back after a pause from the one that leads now.
insert into {schema}.leader as held (name, term, holder, until)
values (%(name)s, 1, %(holder)s, clock_timestamp() + %(seconds)s::float8 * interval '1 second')
on conflict (name) do update set term = held.term + 1, holder = excluded.holder, until = excluded.until
-- No node leads for longer than `seconds`: a later end means that the clock was set back.
where held.until <= clock_timestamp() or held.until > clock_timestamp() + %(seconds)s::float8 * interval '1 second'
returning term
