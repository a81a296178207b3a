-- Settings with which a crash of the server loses what it reported as stored.
select name from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off' order by name
