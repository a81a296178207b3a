-- Drops what is stored of entries of an application's scheduler class.
delete from {schema}.scheduler_entry where app = %(app)s and name = any (%(names)s::text[])
