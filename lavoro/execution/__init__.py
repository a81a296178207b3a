"""One start of a task, from its job to its outcome; no module here knows SQL."""
