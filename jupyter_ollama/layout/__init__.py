"""Model files in Ollama's layout, presented in the layout of llama.cpp."""
