-- Tells how many seconds the latest task that was due at once when it was stored lies in the future: the clock was set back.
select extract(epoch from max(created) - clock_timestamp())::float8 from lavoro.waiting
where created > clock_timestamp() and due <= created
