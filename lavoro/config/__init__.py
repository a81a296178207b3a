"""The settings of an application: their names, defaults, sources and checks."""
