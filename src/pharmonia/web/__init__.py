"""The read-only dashboard (lands here)."""
