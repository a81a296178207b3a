"""A child process of a worker, which claims, runs and finishes tasks."""
