"""Rows that are sent to models: requests, progress, cache, reports, and the columns of answers."""
