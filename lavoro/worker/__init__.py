"""The engine: a supervisor and its children."""
