"""`jupyter ollama launch`: other programs, set up to use this server."""
