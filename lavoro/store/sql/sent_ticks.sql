-- Returns the times between two at which a schedule has sent its task.
select due_at from {schema}.tick
where schedule = %(name)s and due_at between %(first)s and %(last)s and outcome = 'sent'
