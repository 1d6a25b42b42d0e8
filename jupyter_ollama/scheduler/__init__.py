"""Which model is loaded, for how long, and who goes next."""
