"""A call of a task, from its options to the message that is stored."""
