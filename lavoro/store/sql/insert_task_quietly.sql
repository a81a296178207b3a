-- Stores one task that is due at once and wakes nobody; fails if the id is taken.
-- insert_task without its look whether somebody sleeps, which the caller has had a moment ago.
insert into {schema}.waiting (id, queue, priority, name, args, kwargs, options)
values (%(id)s, %(queue)s, %(priority)s, %(name)s, %(args)s::json, %(kwargs)s::json, %(options)s::json)
