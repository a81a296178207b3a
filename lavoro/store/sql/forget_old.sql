-- Deletes what nobody asks for any more: revokes after a day, offers that have run out, workers that stopped before any kept
-- task can name them, and tasks whose handlers no worker has called for as long.
with revokes as (
    delete from {schema}.revoked where revoked_at < clock_timestamp() - interval '1 day' returning id
), offers as (
    delete from {schema}.offer where until < statement_timestamp() - interval '1 minute'
), unhandled as (
    delete from {schema}.unhandled where ended_at < clock_timestamp() - %(kept)s::float8 * interval '1 second'
), workers as (
    delete from {schema}.worker where stopped_at < clock_timestamp() - %(kept)s::float8 * interval '1 second' returning id
)
select (select count(*) from revokes), (select count(*) from workers)
