"""Search over the texts of a DataFrame: an index in a DuckDB file, by meaning and by words."""
