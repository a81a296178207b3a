-- Stores the tasks that follow those of a batch that ends, then counts the ends: a task may add to its own barrier.
create or replace function {schema}.follow(p_messages {schema}.message[], p_ends {schema}.ending[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform {schema}.store_messages(p_messages, false, true, false) where p_messages is not null;
    perform {schema}.count_members(p_ends);
end $$;

revoke all on function {schema}.follow from public;
