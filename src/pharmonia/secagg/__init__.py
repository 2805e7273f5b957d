"""Secure aggregation: only sums leave a partner. Partner-side and server-side modules never import each other."""
