"""Checks of a database and its tasks."""
