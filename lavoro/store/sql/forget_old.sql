-- Deletes revokes, by id and by stamp, after a day, expired offers after a minute.
-- Deletes unhandled tasks, saved groups, stopped workers and start-ups of former releases after `kept` seconds.
-- After `kept` seconds no stored task names a stopped worker any more.
with revokes as (
    delete from {schema}.revoked where revoked_at < clock_timestamp() - interval '1 day' returning id
), stamps as (
    delete from {schema}.revoked_stamp where revoked_at < clock_timestamp() - interval '1 day'
), offers as (
    delete from {schema}.offer where until < statement_timestamp() - interval '1 minute'
), unhandled as (
    delete from {schema}.unhandled where ended_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
), groups as (
    delete from {schema}.saved_group where saved_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
), startups as (
    delete from {schema}.startup s where ended_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
        and exists (
            select from {schema}.startup later
            where later.application = s.application and later.name = s.name and later.ended_at > s.ended_at
        )
), workers as (
    delete from {schema}.worker
    where stopped_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
    returning id
)
select (select count(*) from revokes), (select count(*) from workers)
