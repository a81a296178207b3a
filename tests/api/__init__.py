"""Tests of the public surface, on a real PostgreSQL and where needed with a real worker."""
