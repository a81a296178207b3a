"""The schema of the database: its tables, migrations, partitions and roles."""
