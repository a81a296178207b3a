-- Stores the tasks of a canvas that stands alone: the short form of insert_placed, in three quarters of its time.
select {schema}.store_canvas(
    %(ids)s, %(names)s, %(queues)s, %(priorities)s, %(retries)s,
    %(etas)s::timestamptz[], %(countdowns)s, %(expires)s::timestamptz[], %(expires_in)s,
    %(args)s, %(kwargs)s, %(options)s, %(payloads)s,
    %(barriers)s, %(indexes)s, %(held_for)s, %(expects)s, %(policies)s,
    %(always)s
)
