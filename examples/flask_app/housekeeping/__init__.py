"""What the site does by itself: a digest every few minutes, and a clean-up in the night."""
