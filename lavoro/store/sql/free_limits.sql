-- Moves tasks that limits hold back to waiting, as far as these have room; returns the seconds until the next look.
-- Null: no limit holds a task.
select {schema}.free_limits()
