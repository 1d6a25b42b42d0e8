"""Batches: files of requests that are answered in the background, whatever happens meanwhile."""
