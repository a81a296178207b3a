-- Replays of failed members: the barriers that have counted a failed task are found by its id.

create index member_failed on {schema}.member (task_id) where state <> 'SUCCESS';
