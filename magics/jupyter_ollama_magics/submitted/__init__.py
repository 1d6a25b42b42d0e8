"""Calls of ``.ollama`` that a server answers in the background, also without this kernel."""
