"""Small applications that show Lavoro at work."""
