"""Loading and eviction of models, and the order in which requests use them."""
