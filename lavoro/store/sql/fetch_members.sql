-- Lists the members of a barrier that have failed, or whose result is in another serializer, with their positions.
select m.position, m.task_id, m.state, m.result::text, m.result_payload
from (
    select m.*, row_number() over (order by m.index)::integer - 1 as position
    from {schema}.member m where m.barrier = %(barrier)s
) m
where m.state <> 'SUCCESS' or m.result_payload is not null
order by m.position
