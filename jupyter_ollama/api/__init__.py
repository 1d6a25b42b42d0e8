"""Ollama's HTTP API: wire types, endpoints, and the two kinds of handler that serve them."""
