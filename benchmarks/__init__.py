"""Measures Lavoro beside the bare database and a minimal worker, in one run on one machine."""
