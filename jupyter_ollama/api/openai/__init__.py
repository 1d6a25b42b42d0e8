"""OpenAI's API, translated to Ollama's: requests on the way in, answers on the way out."""
