-- Says of a live worker that it serves these queues from now on.
update {schema}.worker set queues = %(queues)s::text[] where id = %(id)s and live
