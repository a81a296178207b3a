"""What becomes of the numbers: tables, targets, plots."""
