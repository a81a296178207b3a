"""What bakes."""
