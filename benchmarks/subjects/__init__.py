"""Who is measured: Lavoro, the floor and the prototype."""
