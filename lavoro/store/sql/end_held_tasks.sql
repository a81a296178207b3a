-- Ends held tasks with this outcome; returns the ids of those that it found.
select {schema}.end_held(%(ids)s::uuid[], %(state)s, %(result)s::json, %(payload)s, true)
