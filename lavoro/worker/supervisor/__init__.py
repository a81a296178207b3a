"""The supervisor process of a worker, which starts and watches its children."""
