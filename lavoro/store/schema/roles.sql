-- Makes the roles of Lavoro in the schema {schema} and gives them their rights.
-- Run it after `lavoro migrate`, as a superuser or as the owner of the schema, who must be allowed to make roles.
-- Run it again after each later `lavoro migrate`. Then make your users members: grant {worker} to shop;
begin;

do $$
declare
    role text;
    thing record;
begin
    foreach role in array array[{texts}] loop
        if not exists (select from pg_roles where rolname = role) then
            execute format('create role %I nologin', role);
        end if;
    end loop;
    if not (select rolsuper from pg_roles where rolname = current_user) then
        grant {owner} to current_user;  -- only a member may give it tables
    end if;
    -- The owner role owns the schema and all in it; it has no login.
    alter schema {schema} owner to {owner};
    for thing in select c.oid::regclass as name from pg_class c
        where c.relnamespace = '{schema}'::regnamespace and c.relkind in ('r', 'p', 'v') loop
        execute format('alter table %s owner to {owner}', thing.name);
    end loop;
    for thing in select t.oid::regtype as name from pg_type t left join pg_class c on c.oid = t.typrelid
        where t.typnamespace = '{schema}'::regnamespace and (t.typtype = 'd' or c.relkind = 'c') loop
        execute format('alter type %s owner to {owner}', thing.name);
    end loop;
    for thing in select p.oid::regprocedure as name from pg_proc p
        where p.pronamespace = '{schema}'::regnamespace loop
        execute format('alter routine %s owner to {owner}', thing.name);
    end loop;
end $$;

-- migrator: may become the owner, as `lavoro migrate` does
grant {owner} to {migrator};

-- Rights that an earlier release may have given
revoke all on schema {schema} from public, {limited};
revoke all on all tables in schema {schema} from public, {limited};
revoke all on all routines in schema {schema} from public, {limited};
{grants}

commit;
