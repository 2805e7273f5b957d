"""Interactions, catalogue, import, partition between partners and split within them; pure computation."""
