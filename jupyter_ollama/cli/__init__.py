"""The command line: `jupyter ollama serve` and the commands that are clients of a server."""
