-- Lets no task of a limit start until a time, or for so many seconds, or without end; past: lets them start again.
update {schema}.limit_state
set paused_until = case
    when %(until)s::timestamptz is not null then %(until)s::timestamptz
    when %(seconds)s::float8 is not null then clock_timestamp() + %(seconds)s::float8 * interval '1 second'
    else '9999-12-31 00:00+00'
end
where key = any (%(keys)s::text[])
returning key
