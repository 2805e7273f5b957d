"""Compounds and proteins to numbers; the only package that knows RDKit."""
