"""The room that knows SQL and no user code."""
