"""JSON Schema: keywords, references, and the closed form that constrains an answer."""
