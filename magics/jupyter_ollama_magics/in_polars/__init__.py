"""``.ollama`` on Series, DataFrames, LazyFrames and expressions of Polars."""
