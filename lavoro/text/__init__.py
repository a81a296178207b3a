"""Text for people: printable, with plurals, with commands they can paste."""
