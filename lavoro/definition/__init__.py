"""A task from its function: its class, its attributes, and the registry of all tasks."""
