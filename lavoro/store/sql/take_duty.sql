-- Gives a duty of the whole cluster to one node for so many seconds, before whose end nobody else gets it.
-- The term counts the holders, so that one who comes back after a pause can be told from the one that holds it now.
insert into {schema}.duty as held (name, term, holder, until)
values (%(name)s, 1, %(holder)s, clock_timestamp() + %(seconds)s::float8 * interval '1 second')
on conflict (name) do update set term = held.term + 1, holder = excluded.holder, until = excluded.until
-- No holder can have it for longer than `seconds`: a later end means that the clock was set back since.
where held.until <= clock_timestamp() or held.until > clock_timestamp() + %(seconds)s::float8 * interval '1 second'
returning term
