-- Lets the leader of a term lead for so many seconds more, or end its term now (0); nothing if the term is over.
update {schema}.leader set until = clock_timestamp() + %(seconds)s::float8 * interval '1 second'
where name = %(name)s and term = %(term)s and until > clock_timestamp()
returning term
