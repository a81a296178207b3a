-- Returns the one that leads now.
select holder from {schema}.leader where name = %(name)s and until > clock_timestamp()
