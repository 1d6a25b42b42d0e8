"""Pulling models from registries and pushing them there, over Ollama's registry protocol."""
