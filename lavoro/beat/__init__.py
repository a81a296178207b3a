"""Periodic tasks: entries in the database, and the ticker that sends their tasks when they are due."""
