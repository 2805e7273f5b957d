"""Secure aggregation: only sums leave a partner (the protocol lands here)."""
