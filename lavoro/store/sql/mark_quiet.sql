-- Says of live workers that they claim nothing for the time being, or claim again.
update {schema}.worker set quiet = %(quiet)s where id = any (%(ids)s::bigint[]) and live and quiet <> %(quiet)s
