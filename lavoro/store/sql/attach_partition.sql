-- Makes one partition and returns its name, or null if the default partition has rows of its time.
select {schema}.make_partition(%(kind)s::text, %(begins)s::timestamptz, %(ends)s::timestamptz)
