"""The one place that states the versions."""

__version__ = "0.1.0"

OLLAMA_API_VERSION = "0.13.5"
"""The release of Ollama whose API is spoken. Some clients refuse servers below 0.6.4, and some
registries send others no Ollama manifests."""
