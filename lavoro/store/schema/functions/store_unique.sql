-- Stores those of these tasks whose unique keys are free, and returns {"<id>": "<id of the holder>"} of the others.
create or replace function {schema}.store_unique(p_messages {schema}.message[], p_repeated boolean, p_always boolean)
returns jsonb language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    holders jsonb;
    messages {schema}.message[];
begin
    holders := {schema}.take_keys(
        array(select m.id from unnest(p_messages) m where m.keys ? 'unique'),
        array(select m.keys from unnest(p_messages) m where m.keys ? 'unique')
    );
    select array_agg(m) from unnest(p_messages) m where not holders ? m.id::text into messages;
    perform {schema}.store_messages(messages, p_repeated, false, p_always) where messages is not null;
    return holders;
end $$;

revoke all on function {schema}.store_unique from public;
