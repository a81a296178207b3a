-- Replication slots that keep vacuum from removing rows, and that no standby uses.
select slot_name, age(xmin) from pg_replication_slots where xmin is not null and not active
