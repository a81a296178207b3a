-- Stores one task that is due at once, and notifies no worker. Fails if the id is taken.
-- The caller has checked a moment ago that no worker sleeps.
insert into {schema}.waiting (id, queue, priority, name, args, kwargs, options)
values (%(id)s, %(queue)s, %(priority)s, %(name)s, %(args)s::json, %(kwargs)s::json, %(options)s::json)
