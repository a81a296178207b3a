-- Says of a live worker that it has so many slots from now on.
update {schema}.worker set slots = %(slots)s where id = %(id)s and live
