"""The tests of Lavoro, one folder per floor."""
