"""The values that pass between calling, storing and running a task."""
