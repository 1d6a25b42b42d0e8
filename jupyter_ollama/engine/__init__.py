"""The engine: one process per loaded model, and the server's handle on it."""
