"""The process around the application: threads, forks, imports, and the current application."""
