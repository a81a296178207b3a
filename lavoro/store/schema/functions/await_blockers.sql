-- Stores a task from SQL that waits until its blockers have ended; fails with a sentence if it cannot.
create or replace function {schema}.await_blockers(p_task {schema}.message, p_wake boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    task {schema}.message := p_task;
begin
    if task.policy is null or task.policy not in ('fail', 'wait', 'run') then
        raise exception 'failure_policy must be ''fail'', ''wait'' or ''run'', not %', quote_nullable(task.policy)
        using errcode = 'invalid_parameter_value';
    elsif coalesce(task.blockers, '{}') = '{}' then
        raise exception 'failure_policy needs blockers: the task % waits for no other', task.id
        using errcode = 'invalid_parameter_value';
    elsif array_position(task.blockers, null) is not null then
        raise exception 'blockers must be ids of tasks, and one of them is null'
        using errcode = 'invalid_parameter_value';
    elsif p_wake is not true then
        raise exception 'a task with blockers needs wake => true: they may have ended, and its end is notified'
        using errcode = 'invalid_parameter_value';
    elsif exists (select from {schema}.held h where h.id = task.id) then
        raise exception 'a task with the id % is stored already', task.id
        using errcode = 'unique_violation', hint = 'Leave id out: each task gets one of its own.';
    end if;
    task.policy := nullif(task.policy, 'fail');
    task.blockers := array(select distinct id from unnest(task.blockers) id);
    task.expects := cardinality(task.blockers);
    perform {schema}.store_messages(array[task], false, false, true);
end $$;

revoke all on function {schema}.await_blockers from public;
