-- Makes one partition; null if there are rows already that would belong into it.
select {schema}.make_partition(%(kind)s::text, %(begins)s::timestamptz, %(ends)s::timestamptz)
