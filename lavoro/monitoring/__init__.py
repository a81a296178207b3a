"""What watches Lavoro at work."""
