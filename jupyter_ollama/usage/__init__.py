"""What was used by whom: rows without any text, and their sums."""
