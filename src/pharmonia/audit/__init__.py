"""Privacy attacks on our own models (lands here)."""
