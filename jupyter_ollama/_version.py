"""The one place that states the versions."""

__version__ = "0.2.0.dev0"

OLLAMA_API_VERSION = "0.33.0"
"""The release of Ollama whose API and model layouts this server speaks. Clients see it at
/api/version, registries in the User-Agent header, and the ``requires`` of models is compared to
it. Registries refuse newer models to older releases with status 412."""
