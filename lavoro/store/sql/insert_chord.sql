-- Stores a chord whose members differ only in their arguments: insert_canvas in two thirds of its time.
select {schema}.store_chord(
    %(ids)s, %(args)s, %(kwargs)s,
    %(name)s, %(queue)s, %(priority)s, %(options)s,
    %(barrier)s, %(policy)s,
    %(body)s, %(body_name)s, %(body_queue)s, %(body_priority)s,
    %(body_args)s, %(body_kwargs)s, %(body_options)s,
    %(always)s
)
