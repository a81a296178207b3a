-- Lets tasks start whose stamps were revoked.
delete from {schema}.revoked_stamp
