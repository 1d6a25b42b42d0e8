"""The row operators of ``.ollama``: what each sends for a row, and what its answers mean."""
