"""The error of files that break a rule of Ollama's layout."""


class LayoutError(ValueError):
    """A file in Ollama's layout cannot be translated; the text names the key or the tensor."""
