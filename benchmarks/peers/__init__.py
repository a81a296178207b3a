"""Other task queues, each in a virtual environment of its own, used by their public interfaces alone."""
