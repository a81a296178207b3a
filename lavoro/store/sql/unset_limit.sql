-- Lets the next call that a limit counts give it its terms again; returns the limit if it exists.
update {schema}.limit_state set fixed = false where key = %(key)s and fixed returning key
