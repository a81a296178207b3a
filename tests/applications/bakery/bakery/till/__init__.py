"""What sells."""
