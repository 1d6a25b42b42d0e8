"""Converting models from safetensors files to GGUF, in a child process.

``python -m jupyter_ollama.library.convert DIR OUT.gguf`` converts the model in a folder,
``... DIR OUT.gguf BASE.gguf`` the LoRA adapter in a folder for the model BASE.gguf.
"""
