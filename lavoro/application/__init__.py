"""The parts of an application: its sites, its copies of shared tasks, the modules that define its tasks."""
