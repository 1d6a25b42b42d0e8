"""The prompts of model families that Ollama renders by built-in code, as Jinja templates."""
