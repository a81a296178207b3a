-- Returns how many seconds ahead the latest task lies that was due at once when it was stored, before the clock was set back.
select extract(epoch from max(created) - clock_timestamp())::float8 from lavoro.waiting
where created > clock_timestamp() and due <= created
