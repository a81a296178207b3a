-- Deletes the schedules that the code of an application defined before and defines no longer; returns their names.
delete from {schema}.schedule where origin = 'code' and app = %(app)s and name <> all (%(kept)s::text[]) returning name
