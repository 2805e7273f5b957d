"""Federated learning for drug discovery: one model across organisations that cannot share what they measured."""

__version__ = "0.1.0"
