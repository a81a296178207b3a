-- The time of the database, from which the ended tasks are counted.
select statement_timestamp()
